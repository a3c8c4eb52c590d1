"""The best items of each query, ties included, without sorting the gallery.

Float32 scores choose a few candidates, float64 scores order them. Whether the candidates suffice is proven by the error
bound of float32; queries whose ties reach beyond their candidates get more of them, the whole gallery at last.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from bimcvr.metrics.ranking.float32_scores import float32_error, full_float32
from bimcvr.metrics.ranking.ranks import TIE
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

SPARE = 16
"""Candidates beyond K at first: the query's own patient and short ties fit in."""

MORE = 8
"""How many times more candidates a query gets whose ties reach beyond them."""

QUERIES = 256
"""Queries scored against the gallery at a time."""


def best_items(
    query: UnitVectors, gallery: UnitVectors, rows: Tensor, patient: Tensor | None, k: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield the best items of the queries `rows`, in parts of equal numbers of candidates, every query once.

    Args:
        query: Q queries.
        gallery: N items.
        rows: (R,) int64, which queries are wanted.
        patient: (N,) int64; with it, row i of the queries and of the gallery is patient `patient[i]`, and items of the
            query's patient are absent from its ranking.
        k: How many items of the ranking are wanted; no query has fewer.

    Yields:
        `(rows (B,), items (B, M), score (B, M), present (B, M))`: for each query M items by descending float64 cosine.
        Its first `k` present items and all that are tied with the last of these are among them.
    """
    rounded_query, rounded_gallery = query.rounded(), gallery.rounded()
    total, width = rounded_gallery.shape
    error = float32_error(width)
    size = min(total, k + SPARE)
    while len(rows):
        unfinished = []
        for part in torch.split(rows, QUERIES):
            with full_float32():
                rough = rounded_query[part] @ rounded_gallery.T
            lowest, items = rough.topk(size, dim=1)
            score = query.cosines(part, gallery, items)
            score, order = score.sort(dim=1, descending=True)
            items = items.gather(1, order)
            present = torch.ones_like(score) if patient is None else (patient[part, None] != patient[items]).double()
            # no item outside of the candidates has a higher score
            outside = lowest[:, -1:].double() + error if size < total else score.new_full((len(part), 1), -torch.inf)
            following = torch.maximum(torch.cat([score[:, 1:], outside], dim=1), outside)
            whole = ((score - following > TIE) & (present.cumsum(1) >= k)).any(1)
            yield part[whole], items[whole], score[whole], present[whole]
            unfinished.append(part[~whole])
        rows = torch.cat(unfinished)
        size = min(total, size * MORE)
