"""Text → image retrieval slice by slice (3D-MIR, Ben Abacha et al. 2023, methods 1 and 3).

A query's best slices of the whole gallery are its hits; a volume is then scored by its own hits among them.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import Gallery
from bimcvr.metrics.bootstrap import bootstrap_intervals
from bimcvr.metrics.per_query import RECALL_AT, per_query_values, summarize
from bimcvr.metrics.ranking.ranks import TIE, rank_scores

Fusion = Literal["freq", "max", "sum"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
_CHUNK = 32  # queries at a time


class SliceRetrieval:
    """The slices' vectors of all volumes of one evaluation, on the CPU: N · S · E numbers.

    Args:
        hits: number of slices that are a query's hits.
        rows: N, the number of volumes.
    """

    def __init__(self, hits: int, rows: int) -> None:
        self.hits, self.rows = hits, rows
        self._slices: Tensor | None = None

    def update(self, positions: Tensor, slices: Tensor) -> None:
        """Store the vectors (B, S, E) of the slices of the volumes at `positions` (B,) of the gallery."""
        if self._slices is None:
            self._slices = torch.full((self.rows, *slices.shape[1:]), torch.nan)
        self._slices[positions.cpu()] = slices.float().cpu()

    def result(self, text: Tensor, gallery: Gallery) -> dict[str, Any]:
        """Return the text → image figures and their 95 % intervals, for each way of fusing a volume's hits.

        Args:
            text: (N, E), the reports.
            gallery: the N rows.
        """
        if self._slices is None or bool(self._slices.isnan().any()):
            raise ValueError("the slices of some volumes are missing or not finite")
        group = torch.as_tensor(gallery.group)
        result: dict[str, Any] = {"direction": "text_to_image", "hits": self.hits, "slices": self._slices.shape[1]}
        for how, score in slice_scores(text.float().cpu(), self._slices, self.hits).items():
            per_query = per_query_values(ranks := rank_scores(score, group, group), RECALL_AT)
            result[how] = {
                "metrics": summarize(per_query),
                "intervals": bootstrap_intervals(per_query, gallery.patient),
                "queries_with_ties": int((ranks.tied_wrong > 0).sum()),
            }
        return result


def slice_scores(query: Tensor, slices: Tensor, hits: int) -> dict[Fusion, Tensor]:
    """Score volumes by their slices' hits.

    Hits are all slices whose cosine reaches that of the query's `hits`-th best; slices tied with it are hits too, so
    that no order of the gallery decides. A volume without a hit scores below all that have one; such volumes are tied.

    Args:
        query: (Q, E).
        slices: (N, S, E), S slices of each of N volumes.
        hits: number of slices that are a query's hits; 20 in the original.

    Returns:
        By the way of fusion (Q, N) float64: `freq`, the number of a volume's hits; `max`, their best cosine; `sum`, the
        sum of their cosines.
    """
    parts = [_fuse(cosine, hits) for cosine in _cosines(query, slices)]
    return {how: torch.cat([part[how] for part in parts]) for how in FUSIONS}


def _cosines(query: Tensor, slices: Tensor) -> Iterator[Tensor]:
    """Yield (q, N, S) float64 cosines."""
    gallery = normalize(slices.double(), dim=-1).flatten(0, 1)
    for queries in torch.split(normalize(query.double(), dim=-1), _CHUNK):
        yield (queries @ gallery.T).reshape(len(queries), *slices.shape[:2])


def _fuse(cosine: Tensor, hits: int) -> dict[Fusion, Tensor]:
    flat = cosine.flatten(1)
    least = flat.topk(min(hits, flat.shape[1]), dim=1).values[:, -1]
    hit = cosine >= least[:, None, None] - TIE
    freq = hit.sum(-1).double()
    none = -(cosine.shape[-1] + 1.0)  # below the sum of all cosines that a volume can have
    return {
        "freq": freq,
        "max": torch.where(hit, cosine, none).amax(-1),
        "sum": torch.where(freq > 0, torch.where(hit, cosine, 0.0).sum(-1), none),
    }
