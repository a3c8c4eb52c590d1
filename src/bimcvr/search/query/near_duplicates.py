"""Which hits are the same case again: the same report, or the same volume, as one that is ranked before them."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from bimcvr.data.manifest import report_keys
from bimcvr.metrics.ranking.ranks import TIE
from bimcvr.search.index.reader import Index
from bimcvr.search.query.results import Hit

_SAMPLE = 256
_MOST_TIED = 0.25


class Repeated(NamedTuple):
    """What a hit repeats.

    Attributes:
        hit: the position in the ranking of the best-ranked hit of the same report or volume.
        why: `report` for the same report, `volume` for the same volume.
    """

    hit: int
    why: Literal["report", "volume"]


class NearDuplicates:
    """Finds hits that repeat others of their ranking.

    Two share a report by the rule of right answers (`data.manifest.report_groups`): the same `report_id`, or the same
    normalised text of at least five words without a flag against it. They have the same volume if the manifest's
    `sha256` is the same, or the cosine of their volumes' vectors is within `TIE` of 1. Vectors count only where they
    tell volumes apart: where more than a quarter of the pairs of a sample of the index are tied, they do not.

    Args:
        index: the index.
        by_ids: whether `report_id` and `sha256` may be used, which tell who belongs together.
    """

    def __init__(self, index: Index, by_ids: bool = True) -> None:
        self._index, self._by_ids = index, by_ids
        rows = np.unique(np.linspace(0, max(0, len(index) - 1), min(_SAMPLE, len(index))).astype(np.int64))
        tied = self._tied(rows.tolist())
        pairs = len(rows) * (len(rows) - 1)
        self._by_vectors = pairs > 0 and (int(tied.sum()) - len(rows)) / pairs <= _MOST_TIED

    def of(self, hits: Sequence[Hit]) -> list[Repeated | None]:
        """Return for each hit what it repeats; None for those that repeat none before them.

        Args:
            hits: a ranking, best first.
        """
        tied = self._tied([self._index.position(hit.study_id) for hit in hits]) if self._by_vectors else None
        first: dict[tuple[str, str], int] = {}
        repeated: list[Repeated | None] = []
        for number, hit in enumerate(hits):
            report_id, volume = (hit.row.get(name, "") if self._by_ids else "" for name in ("report_id", "sha256"))
            reports = report_keys(report_id, hit.report, hit.row.get("flags", ""))
            keys = [*reports, *([("sha256", volume)] if volume else [])]
            same = [(first[key], "report" if key in reports else "volume") for key in keys if key in first]
            if tied is not None and tied[number, :number].any():
                same.append((int(tied[number, :number].argmax()), "volume"))
            found = None
            if same:
                earlier, why = min(same, key=lambda one: one[0])
                above = repeated[earlier]
                found = Repeated(above.hit if above else earlier, "report" if why == "report" else "volume")
            repeated.append(found)
            for key in keys:
                first.setdefault(key, number)
        return repeated

    def _tied(self, positions: Sequence[int]) -> np.ndarray:
        """Return (n, n) bool: whose volumes' vectors are the same within the rounding that makes ranks tied."""
        if not len(positions):
            return np.zeros((0, 0), dtype=bool)
        vectors = np.stack([self._index.image.row(position) for position in positions]).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors @ vectors.T >= 1 - TIE)
