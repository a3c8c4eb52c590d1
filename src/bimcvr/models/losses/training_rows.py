"""What training knows of its rows beside volume and text: which bear one report, and which labels."""

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.metrics.prompts import NO_FINDING


class TrainingRows:
    """Reports that are one another's double, and labels, by row of the manifest.

    Args:
        gallery: the rows of `train`.
        device: where rows are asked for and answers given.

    Attributes:
        labels: L findings that some row bears, in alphabetical order.
    """

    def __init__(self, gallery: Gallery, device: torch.device | str = "cpu") -> None:
        self._rows, self._report, self._text = (
            torch.as_tensor(of, device=device) for of in (gallery.rows, gallery.group, gallery.same_text)
        )
        self.labels = sorted(frozenset().union(*gallery.labels) - {*NO_FINDING})
        self._bears = torch.tensor(
            [[label in own for label in self.labels] for own in gallery.labels], dtype=torch.bool, device=device
        )

    def same_report(self, index: Tensor, others: Tensor) -> Tensor:
        """Say which rows share a report: by id, or by the same words, be it a placeholder that says nothing.

        Args:
            index: (B,) rows of the manifest.
            others: (M,) rows.

        Returns:
            (B, M) bool.
        """
        of, to = self._places(index), self._places(others)
        return (self._report[of][:, None] == self._report[to]) | (self._text[of][:, None] == self._text[to])

    def bears(self, index: Tensor) -> Tensor:
        """Return the labels of rows (B,) as (B, L) bool."""
        return self._bears[self._places(index)]

    def _places(self, index: Tensor) -> Tensor:
        return torch.searchsorted(self._rows, index)
