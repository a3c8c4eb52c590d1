"""What a search returns: ranked studies, and what was searched for."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bimcvr.search.index.reader import Stream
from bimcvr.search.query.highlights import HighlightSpan
from bimcvr.search.query.measured import MeasuredLabel


@dataclass(frozen=True)
class Hit:
    """A study in a ranking.

    Attributes:
        rank: from 1.
        study_id: the study.
        score: the cosine; of a hybrid query the fused score; of a query by words the BM25 score.
        patient_id: the patient, or empty.
        labels: the findings that its report says are present.
        report: the report.
        spans: the parts of the report that match the query, by start.
        row: the manifest's row: column → text.
        cosine: the cosine; None where the study was not ranked by vectors.
        vector_rank: the rank by vectors; None likewise.
        words_rank: the rank by words; None where the study was not ranked by words.
        has_pictures: whether the index has thumbnails of it.
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
    """The results of one query.

    Attributes:
        mode: `text`, `keyword`, `volume`, `study`, `like` or `words`.
        query_parts: what was searched for: the sentences or prompts that the text encoder read, the name of the volume
            or study, or the words.
        into: whether volumes (`image`) or reports (`report`) were ranked.
        hits: the studies, best first.
        candidates: how many studies pass the filter.
        studies: how many studies the index has.
        notes: what the reader should know before trusting the results, as sentences.
        phantom: whether any study of the index is synthetic.
        has_patients: whether any study is not synthetic.
        encode_seconds: how long encoding the query took.
        search_seconds: how long ranking took.
        hybrid: whether the rankings by vectors and by words were fused.
        label: of a keyword query, the label that was searched for.
        denied: whether that finding is to be absent; a cosine is then that with the opposite of its prompts.
        measured: how well the model finds that label by the volumes alone, where the index knows it.
        query_vector: the query's vector (E,); None for a query by words.
    """

    mode: str
    query_parts: tuple[str, ...]
    into: Stream
    hits: tuple[Hit, ...]
    candidates: int
    studies: int
    notes: tuple[str, ...]
    phantom: bool
    has_patients: bool
    encode_seconds: float
    search_seconds: float
    hybrid: bool = False
    label: str = ""
    denied: bool = False
    measured: MeasuredLabel | None = None
    query_vector: np.ndarray | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return the results as what can be written as JSON, without the query's vector."""
        fields = {name: value for name, value in vars(self).items() if name not in ("hits", "query_vector")}
        fields["measured"] = vars(self.measured) if self.measured else None
        return {**fields, "hits": [{**vars(hit), "spans": [vars(span) for span in hit.spans]} for hit in self.hits]}
