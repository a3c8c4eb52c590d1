"""Why a study is among the results: the sentences of its report nearest to the query, and labels that both have."""

from dataclasses import dataclass

import numpy as np

from bimcvr.data.text.sentences import sentence_spans
from bimcvr.search.asked.findings import NOTHING, Asked, asked_of, one_finding
from bimcvr.search.asked.labels import has_label
from bimcvr.search.asked.parsed_query import ParsedQuery, parse_query
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.reader import Index
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.highlights import HighlightSpan, highlight

MOST = 3
"""How many sentences are named."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report, `report[start:end]`.

    Attributes:
        start: its first character.
        end: one past its last character.
        score: the cosine of its vector with the query's; without a model, how many parts of it match the query.
    """

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Reasons:
    """Why a study is among the results.

    Attributes:
        report: the study's report.
        matching: the sentences nearest to the query, best first.
        contrary: those that deny a finding that the query wants, or state one that it denies, in the report's order.
        labels: labels that both have: findings that a text asks for, or labels of the query's study.
        by_vectors: whether scores are cosines.
    """

    report: str
    matching: tuple[Sentence, ...]
    contrary: tuple[Sentence, ...]
    labels: tuple[str, ...]
    by_vectors: bool


def explain(index: Index, model: Encoder | None, study_id: str, query: str, vector: np.ndarray | None) -> Reasons:
    """Explain a hit of a query by text, keyword or words.

    Args:
        index: an open index.
        model: its text encoder; without one sentences are counted by what matches.
        study_id: the hit.
        query: the text.
        vector: the query's (E,); None for a query by words.

    Raises:
        UserError: there is no such study.
    """
    parsed = parse_query(query)
    asked = asked_of(parsed, *one_finding(parsed, index))
    position = index.position(study_id)
    shared = [label for label in sorted(asked.present) if has_label(index, label)[position]]
    return _explain(index, model, study_id, vector, shared, asked, parsed)


def explain_like(index: Index, model: Encoder | None, study_id: str, other: str) -> Reasons:
    """Explain a hit of a query by another study of the index.

    Args:
        index: an open index.
        model: its text encoder; without one no sentence is named.
        study_id: the hit.
        other: the query.

    Raises:
        UserError: there is no such study.
    """
    position = index.position(other)
    shared = sorted(set(index.labels[position]) & set(index.labels[index.position(study_id)]))
    return _explain(index, model, study_id, index.image.row(position), shared, NOTHING, None)


def _explain(
    index: Index,
    model: Encoder | None,
    study_id: str,
    vector: np.ndarray | None,
    shared: list[str],
    asked: Asked,
    query: ParsedQuery | None,
) -> Reasons:
    study = index.row(study_id)
    spans = sentence_spans(study.report)
    marks = highlight(study.report, query, asked, study.cells.get("language", "")) if query is not None else []
    # the vector of a denial is the opposite of its finding's, to which no sentence is near
    by_vectors = model is not None and vector is not None and (bool(asked.present) or not asked.absent)
    if model is not None and vector is not None and by_vectors and spans:
        vectors = model.embed_texts([study.report[start:end] for start, end in spans])
        unit = unit_vector(vector)
        scores = [float(unit_vector(each) @ unit) if np.any(each) else -1.0 for each in vectors]
    else:
        scores = [float(sum(start <= mark.start < end for mark in marks)) for start, end in spans]
    sentences = [Sentence(start, end, score) for (start, end), score in zip(spans, scores, strict=True)]
    contrary = [sentence for sentence in sentences if _contradicts(sentence, marks, asked)]
    fitting = [one for one in sentences if one not in contrary and (by_vectors or one.score > 0)]
    best = sorted(fitting, key=lambda one: (-one.score, one.start))[:MOST]
    return Reasons(study.report, tuple(best), tuple(contrary), tuple(shared), by_vectors)


def _contradicts(sentence: Sentence, marks: list[HighlightSpan], asked: Asked) -> bool:
    """Return whether a sentence only denies what is wanted, or states what is denied; a query of both is not judged."""
    own = {mark.kind for mark in marks if sentence.start <= mark.start < sentence.end and mark.kind != "word"}
    if bool(asked.present) == bool(asked.absent):
        return False
    return own == {"absent"} if asked.present else "present" in own
