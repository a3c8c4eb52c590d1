"""The exact scan: the best of all unit vectors for a query, ties by study id.

Float32 products only choose candidates: whatever lies within their rounding error of the last place is scored again in
float64, row by row in a fixed order of summation, so that neither tile, thread nor a row's place in the file decides.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SPARE = 16
"""More of a batch's candidates are kept than are wanted.

Those within the rounding error of the last place are decided again.
"""

COPIED = 16384
"""Vectors that are copied at a time where not all may be returned."""

TOGETHER = 800
"""Candidates of several queries that are turned into float64 at a time."""

ROWS = 8192
"""Vectors that are turned into float64 at a time."""


class TopMatches(NamedTuple):
    """The best places for one query, best first.

    Attributes:
        place: (k,) int64, positions in the index.
        score: (k,) float64, cosines.
    """

    place: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Vectors:
    """Unit vectors in a file, of which some belong to a study.

    Attributes:
        values: (S, E) float32, one a slot.
        slot: (N,) int64 ascending, the slot of each study of the index.
        order: (N,) int64, each study's place among all ids in order: it decides ties.
    """

    values: np.ndarray
    slot: np.ndarray
    order: np.ndarray

    def row(self, place: int) -> np.ndarray:
        """Return the vector (E,) of a study."""
        return np.array(self.values[self.slot[place]])

    def scores(self, query: np.ndarray) -> np.ndarray:
        """Return the cosines (N,) of all studies with a query (E,), in float64."""
        unit = unit_vector(query)
        parts = [self._exact(self.slot[start : start + ROWS], unit) for start in range(0, len(self.slot), ROWS)]
        return np.concatenate(parts) if parts else np.empty(0)

    def top(self, queries: np.ndarray, count: int, allowed: np.ndarray | None = None) -> list[TopMatches]:
        """Return the best studies for each query.

        Args:
            queries: (Q, E), of any length but zero.
            count: how many; fewer are returned where fewer are allowed.
            allowed: (N,) bool, the studies that may be returned; all by default.
        """
        units = (
            np.stack([unit_vector(query) for query in queries]) if len(queries) else np.empty((0, self.values.shape[1]))
        )
        open_slots = self._open(allowed)
        number = len(self.slot) if allowed is None else int(allowed.sum())
        count = min(count, number)
        if not count or not len(units):
            return [TopMatches(np.empty(0, dtype=np.int64), np.empty(0)) for _ in units]
        asked = units.astype(np.float32)
        # the worst rounding of two float32 products of E terms, and of the query and a stored vector's length to
        # float32
        margin = 2.0 * (self.values.shape[1] + 2) * 2.0**-24
        if len(asked) == 1:
            slots = _one(self.values, asked[0], count, open_slots, margin)
            return [self._decide(slots, self._exact(slots, units[0]), count)]
        found = _many(self.values, asked, count, open_slots, margin)
        return [
            self._decide(slots, score, count) for slots, score in zip(found, self._exact_all(found, units), strict=True)
        ]

    def _open(self, allowed: np.ndarray | None) -> np.ndarray | None:
        """Return which slots (S,) may be returned; None for all."""
        if allowed is None and len(self.slot) == len(self.values):
            return None
        mask = np.zeros(len(self.values), dtype=bool)
        mask[self.slot if allowed is None else self.slot[allowed]] = True
        return mask

    def _decide(self, slots: np.ndarray, score: np.ndarray, count: int) -> TopMatches:
        place = slots if len(self.slot) == len(self.values) else np.searchsorted(self.slot, slots)
        best = np.lexsort((self.order[place], -score))[:count]
        return TopMatches(place[best], score[best])

    def _exact(self, slots: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Return float64 cosines (…, n) with units (…, E).

        Each row is summed on its own, in the same order wherever it lies.
        """
        cosine: np.ndarray = np.vecdot(self.values[slots].astype(np.float64), unit[..., None, :])
        return cosine

    def _exact_all(self, slots: Sequence[np.ndarray], units: np.ndarray) -> list[np.ndarray]:
        """Return float64 cosines of each query's candidates, some queries at a time on each of two threads."""
        most = max(map(len, slots))
        # up to one length: a slot once more
        padded = np.stack([np.resize(own, most) for own in slots])
        some = max(1, TOGETHER // most)
        starts = range(0, len(slots), some)
        with ThreadPoolExecutor(2) as pool:
            parts = pool.map(
                lambda start: self._exact(padded[start : start + some], units[start : start + some]), starts
            )
            return [score[: len(own)] for own, score in zip(slots, np.concatenate(list(parts)), strict=True)]


def unit_vector(vector: np.ndarray) -> np.ndarray:
    """Return a vector (E,) scaled to length 1, in float64."""
    exact = np.asarray(vector, dtype=np.float64)
    unit: np.ndarray = exact / np.linalg.norm(exact)
    return unit


def _one(table: np.ndarray, query: np.ndarray, count: int, allowed: np.ndarray | None, margin: float) -> np.ndarray:
    """Return the slots that may be among the best for one query.

    Numpy's product is the fastest where memory is the limit.
    """
    score = table @ query
    if allowed is not None:
        score[~allowed] = -np.inf
    last = np.partition(score, len(score) - count)[len(score) - count]
    return np.flatnonzero(score >= last - margin)


def _many(
    table: np.ndarray, queries: np.ndarray, count: int, allowed: np.ndarray | None, margin: float
) -> list[np.ndarray]:
    """Return the slots that may be among the best for each of several queries."""
    import faiss

    slots = np.arange(len(table)) if allowed is None else np.flatnonzero(allowed)
    kept = min(count + SPARE, len(slots))
    score, slot = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    step = len(slots) if allowed is None else COPIED
    for start in range(0, len(slots), step):
        part = slots[start : start + step]
        rows = table if allowed is None else table[part]
        found, place = faiss.knn(queries, rows, min(kept, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        score, slot = np.hstack([score, found]), np.hstack([slot, part[place]])
        best = np.argsort(-score, axis=1)[:, :kept]
        score, slot = np.take_along_axis(score, best, axis=1), np.take_along_axis(slot, best, axis=1)
    near = score >= score[:, [count - 1]] - margin
    # where all that were kept are near, others may be as near as they
    return [
        slot[i][near[i]] if kept == len(slots) or not near[i].all() else _one(table, query, count, allowed, margin)
        for i, query in enumerate(queries)
    ]
