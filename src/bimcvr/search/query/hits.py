"""Ranked rows become hits: the study's data, and the parts of its report that match the query."""

from collections.abc import Sequence

from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import IndexedStudy
from bimcvr.search.query.highlights import HighlightSpan, highlight_findings, highlight_words
from bimcvr.search.query.labels import label_extractor
from bimcvr.search.query.parsed_query import ParsedQuery
from bimcvr.search.query.ranking import RankedRow
from bimcvr.search.query.results import Hit


def read_hits(
    index: Index, ranked: Sequence[RankedRow], query: ParsedQuery | None = None, label: str = ""
) -> tuple[Hit, ...]:
    """Read the studies of a ranking from the index.

    Args:
        index: the index.
        ranked: the rows, best first.
        query: the query's words, which are highlighted in the reports; None for a query without a text.
        label: of a keyword query, the label: its mentions are highlighted where the keyword library knows it.

    Returns:
        One hit a row, in the same order.
    """
    studies = index.rows([row.position for row in ranked])
    return tuple(
        Hit(
            rank,
            study.study_id,
            row.score,
            study.patient_id,
            study.labels,
            study.report,
            tuple(_highlights(study, query, label)),
            study.cells,
            row.cosine,
            row.vector_rank,
            row.words_rank,
            bool(study.geometry),
        )
        for rank, (row, study) in enumerate(zip(ranked, studies, strict=True), 1)
    )


def _highlights(study: IndexedStudy, query: ParsedQuery | None, label: str) -> list[HighlightSpan]:
    if label.casefold() in label_extractor().library.keywords:
        return highlight_findings(study.report, label.casefold(), study.cells.get("language", ""))
    return highlight_words(study.report, query.stems) if query is not None else []
