"""What a query gives: ranked studies, and what was asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bimcvr.search.index.reader import Index, Stream
from bimcvr.search.query.highlights import HighlightSpan

RRF = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""


@dataclass(frozen=True)
class Hit:
    """A study found.

    Attributes:
        rank: from 1.
        study_id: its name.
        score: the cosine; of a hybrid query the fused score; of a query by words BM25.
        patient_id: the patient, or empty.
        labels: the findings that its report says are there.
        report: the report.
        spans: where in the report stands what was asked for, by start.
        row: the manifest's row: column → text.
        cosine: the cosine; None where the vectors did not rank it.
        vector_rank: its rank by vectors; None likewise.
        words_rank: its rank by words; None where they did not rank it.
        has_pictures: whether the index has pictures of it.
    """

    rank: int
    study_id: str
    score: float
    patient_id: str
    labels: tuple[str, ...]
    report: str
    spans: tuple[HighlightSpan, ...]
    row: dict[str, str]
    cosine: float | None = None
    vector_rank: int | None = None
    words_rank: int | None = None
    has_pictures: bool = False


@dataclass(frozen=True)
class SearchResults:
    """What a query gives.

    Attributes:
        mode: text, keyword, volume, study or words.
        asked: what the text encoder read, sentence by sentence; or the name of the volume or study; or the words.
        into: whether volumes (`image`) or reports (`report`) were ranked.
        hits: the studies found, best first.
        among: how many studies the filter left.
        studies: how many the index holds.
        notes: what the reader should know before trusting it, as sentences.
        phantom: whether any study of the index is synthetic.
        has_patients: whether any is not.
        encode_seconds: what reading the query took.
        search_seconds: what ranking took.
        hybrid: whether two rankings were fused.
        label: of a keyword query, the label that it was understood as.
        query: the query's vector (E,); None for a query by words.
    """

    mode: str
    asked: tuple[str, ...]
    into: Stream
    hits: tuple[Hit, ...]
    among: int
    studies: int
    notes: tuple[str, ...]
    phantom: bool
    has_patients: bool
    encode_seconds: float
    search_seconds: float
    hybrid: bool = False
    label: str = ""
    query: np.ndarray | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return it as what can be written as JSON; the query's vector is left out."""
        own = {name: value for name, value in vars(self).items() if name not in ("hits", "query")}
        return {**own, "hits": [{**vars(hit), "spans": [vars(span) for span in hit.spans]} for hit in self.hits]}


@dataclass(frozen=True)
class RankedRow:
    """A place of the index in a ranking; its other attributes are `Hit`'s."""

    place: int
    score: float
    cosine: float | None = None
    vector_rank: int | None = None
    words_rank: int | None = None


def fuse(by_vector: Sequence[RankedRow], by_words: Sequence[tuple[int, float]], index: Index) -> list[RankedRow]:
    """Fuse two rankings: the sum of 1 / (60 + rank) over those that hold a study, ties by study id."""
    vector = {place.place: place for place in by_vector}
    words = {place: rank for rank, (place, _) in enumerate(by_words, 1)}
    fused = []
    for place in dict.fromkeys([*vector, *words]):
        own, words_rank = vector.get(place), words.get(place)
        vector_rank = own.vector_rank if own else None
        score = sum(1 / (RRF + rank) for rank in (vector_rank, words_rank) if rank)
        fused.append(RankedRow(place, score, own.cosine if own else None, vector_rank, words_rank))
    return sorted(fused, key=lambda item: (-item.score, index.order[item.place]))
