"""Exact nearest-neighbour search over unit vectors; ties are broken by study id.

Float32 products only select candidates. Everything within their rounding error of the last rank is scored again in
float64, row by row in a fixed order of summation, so that the result depends neither on tiles or threads nor on a row's
position in the file.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SPARE_CANDIDATES = 16
"""How many more candidates are kept than wanted: those within the rounding error of the last rank are scored again."""

COPY_BLOCK = 16384
"""How many vectors are copied at a time where a filter excludes some."""

RESCORE_BLOCK = 800
"""How many candidates of several queries are converted to float64 at a time."""

SCORE_BLOCK = 8192
"""How many vectors are converted to float64 at a time."""


class TopMatches(NamedTuple):
    """The best studies for one query, best first.

    Attributes:
        position: (k,) int64, positions in the index.
        score: (k,) float64, cosines.
    """

    position: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Vectors:
    """Unit vectors in a file; slots of deleted or replaced studies are skipped.

    Attributes:
        values: (S, E) float32, one vector a slot.
        slot: (N,) int64 ascending, the slot of each study of the index.
        order: (N,) int64, the rank of each study's id among all ids in sorted order; it breaks ties.
    """

    values: np.ndarray
    slot: np.ndarray
    order: np.ndarray

    def row(self, position: int) -> np.ndarray:
        """Return the vector (E,) of a study."""
        return np.array(self.values[self.slot[position]])

    def scores(self, query: np.ndarray) -> np.ndarray:
        """Return the cosines (N,) of all studies with a query (E,), as float64."""
        unit = unit_vector(query)
        parts = [
            self._exact(self.slot[start : start + SCORE_BLOCK], unit) for start in range(0, len(self.slot), SCORE_BLOCK)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def top(self, queries: np.ndarray, count: int, allowed: np.ndarray | None = None) -> list[TopMatches]:
        """Return the best studies for each query.

        Args:
            queries: (Q, E), of any norm but zero.
            count: how many studies; fewer are returned where fewer are allowed.
            allowed: (N,) bool, the studies that may be returned; None for all.

        Returns:
            One `TopMatches` a query.
        """
        units = (
            np.stack([unit_vector(query) for query in queries]) if len(queries) else np.empty((0, self.values.shape[1]))
        )
        allowed_slots = self._allowed_slots(allowed)
        number = len(self.slot) if allowed is None else int(allowed.sum())
        count = min(count, number)
        if not count or not len(units):
            return [TopMatches(np.empty(0, dtype=np.int64), np.empty(0)) for _ in units]
        queries32 = units.astype(np.float32)
        # bound on the error of two float32 products of E terms, and of rounding both vectors to float32
        margin = 2.0 * (self.values.shape[1] + 2) * 2.0**-24
        if len(queries32) == 1:
            slots = _candidates(self.values, queries32[0], count, allowed_slots, margin)
            return [self._rank(slots, self._exact(slots, units[0]), count)]
        candidates = _candidates_of_each(self.values, queries32, count, allowed_slots, margin)
        return [
            self._rank(slots, score, count)
            for slots, score in zip(candidates, self._exact_all(candidates, units), strict=True)
        ]

    def _allowed_slots(self, allowed: np.ndarray | None) -> np.ndarray | None:
        """Return which slots may be returned, (S,) bool; None for all."""
        if allowed is None and len(self.slot) == len(self.values):
            return None
        mask = np.zeros(len(self.values), dtype=bool)
        mask[self.slot if allowed is None else self.slot[allowed]] = True
        return mask

    def _rank(self, slots: np.ndarray, score: np.ndarray, count: int) -> TopMatches:
        position = slots if len(self.slot) == len(self.values) else np.searchsorted(self.slot, slots)
        best = np.lexsort((self.order[position], -score))[:count]
        return TopMatches(position[best], score[best])

    def _exact(self, slots: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Return float64 cosines (…, n) of slots (…, n) with units (…, E).

        Each row is summed on its own, in the same order wherever it is in the file.
        """
        cosine: np.ndarray = np.vecdot(self.values[slots].astype(np.float64), unit[..., None, :])
        return cosine

    def _exact_all(self, slots: Sequence[np.ndarray], units: np.ndarray) -> list[np.ndarray]:
        """Return float64 cosines of each query's candidates, a few queries at a time on each of two threads."""
        most = max(map(len, slots))
        # padded to one length by repeating slots
        padded = np.stack([np.resize(candidates, most) for candidates in slots])
        step = max(1, RESCORE_BLOCK // most)
        starts = range(0, len(slots), step)
        with ThreadPoolExecutor(2) as pool:
            parts = pool.map(
                lambda start: self._exact(padded[start : start + step], units[start : start + step]), starts
            )
            scores = np.concatenate(list(parts))
            return [score[: len(candidates)] for candidates, score in zip(slots, scores, strict=True)]


def unit_vector(vector: np.ndarray) -> np.ndarray:
    """Return a vector (E,) scaled to length 1, in float64."""
    exact = np.asarray(vector, dtype=np.float64)
    unit: np.ndarray = exact / np.linalg.norm(exact)
    return unit


def _candidates(
    table: np.ndarray, query: np.ndarray, count: int, allowed: np.ndarray | None, margin: float
) -> np.ndarray:
    """Return the slots that may be among the best for one query.

    NumPy's product is the fastest where memory bandwidth is the limit.
    """
    score = table @ query
    if allowed is not None:
        score[~allowed] = -np.inf
    last = np.partition(score, len(score) - count)[len(score) - count]
    return np.flatnonzero(score >= last - margin)


def _candidates_of_each(
    table: np.ndarray, queries: np.ndarray, count: int, allowed: np.ndarray | None, margin: float
) -> list[np.ndarray]:
    """Return the slots that may be among the best for each of several queries."""
    import faiss

    slots = np.arange(len(table)) if allowed is None else np.flatnonzero(allowed)
    keep = min(count + SPARE_CANDIDATES, len(slots))
    score, slot = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    step = len(slots) if allowed is None else COPY_BLOCK
    for start in range(0, len(slots), step):
        part = slots[start : start + step]
        rows = table if allowed is None else table[part]
        part_score, position = faiss.knn(queries, rows, min(keep, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        score, slot = np.hstack([score, part_score]), np.hstack([slot, part[position]])
        best = np.argsort(-score, axis=1)[:, :keep]
        score, slot = np.take_along_axis(score, best, axis=1), np.take_along_axis(slot, best, axis=1)
    near = score >= score[:, [count - 1]] - margin
    # where all candidates that were kept are this close, others may be as close
    return [
        slot[i][near[i]]
        if keep == len(slots) or not near[i].all()
        else _candidates(table, query, count, allowed, margin)
        for i, query in enumerate(queries)
    ]
