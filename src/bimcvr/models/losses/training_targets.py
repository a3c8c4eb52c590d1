"""Facts about training rows that a loss may use beside volume and text: shared reports and labels."""

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.metrics.prompts import NO_FINDING


class TrainingTargets:
    """Which training rows share a report, and which labels they have; rows are named by their manifest position.

    Args:
        gallery: the rows of `train`.
        device: where rows are looked up and results returned.

    Attributes:
        rows: (N,) the rows of the manifest, ascending.
        labels: the L findings that at least one row has, in alphabetical order.
    """

    def __init__(self, gallery: Gallery, device: torch.device | str = "cpu") -> None:
        self.rows, self._report, self._text = (
            torch.as_tensor(column, device=device) for column in (gallery.rows, gallery.group, gallery.same_text)
        )
        self.labels = sorted(frozenset().union(*gallery.labels) - {*NO_FINDING})
        self._has_label = torch.tensor(
            [[label in row_labels for label in self.labels] for row_labels in gallery.labels],
            dtype=torch.bool,
            device=device,
        )

    def same_report(self, index: Tensor, candidates: Tensor) -> Tensor:
        """Return which rows share a report, by id or by the same words (also those of a placeholder without content).

        Args:
            index: (B,) rows of the manifest.
            candidates: (M,) rows of the manifest.

        Returns:
            (B, M) bool.
        """
        first, second = self._positions(index), self._positions(candidates)
        return (self._report[first][:, None] == self._report[second]) | (
            self._text[first][:, None] == self._text[second]
        )

    def has_label(self, index: Tensor) -> Tensor:
        """Return the labels of rows (B,) of the manifest as (B, L) bool."""
        return self._has_label[self._positions(index)]

    def _positions(self, index: Tensor) -> Tensor:
        return torch.searchsorted(self.rows, index)
