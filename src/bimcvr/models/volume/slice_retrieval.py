"""Text → image retrieval slice by slice: gathering the slices of a split, and its figures."""

from typing import Any

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.evaluation.result import RECALL_AT
from bimcvr.metrics.bootstrap import intervals
from bimcvr.metrics.per_query import outcomes, summary
from bimcvr.metrics.score_ranks import rank_scores
from bimcvr.models.volume.slice_scorers import slice_scores


class SliceSearch:
    """The slices' vectors of all volumes of one evaluation, on the CPU: N · S · E numbers.

    Args:
        hits: how many slices a query has for hits.
        rows: N, the number of volumes.
    """

    def __init__(self, hits: int, rows: int) -> None:
        self.hits, self.rows = hits, rows
        self._slices: Tensor | None = None

    def update(self, place: Tensor, slices: Tensor) -> None:
        """Take the vectors (B, S, E) of the slices of the volumes at `place` (B,)."""
        if self._slices is None:
            self._slices = torch.full((self.rows, *slices.shape[1:]), torch.nan)
        self._slices[place.cpu()] = slices.float().cpu()

    def result(self, text: Tensor, gallery: Gallery) -> dict[str, Any]:
        """Return hits and slices, and by the way of fusion the figures of text → image with their 95 % intervals.

        Args:
            text: (N, E), the reports.
            gallery: the N rows.
        """
        if self._slices is None or bool(self._slices.isnan().any()):
            raise ValueError("the slices of some volumes are missing or not finite")
        group = torch.as_tensor(gallery.group)
        found: dict[str, Any] = {"direction": "text_to_image", "hits": self.hits, "slices": self._slices.shape[1]}
        for how, score in slice_scores(text.float().cpu(), self._slices, self.hits).items():
            of = outcomes(ranks := rank_scores(score, group, group), RECALL_AT)
            found[how] = {"metrics": summary(of), "intervals": intervals(of, gallery.patient),
                          "queries_with_ties": int((ranks.tied_wrong > 0).sum())}
        return found
