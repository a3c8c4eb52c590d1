"""Ranked rows become hits: the study's data, and the parts of its report that match the query."""

from collections.abc import Sequence

from bimcvr.search.asked.findings import NOTHING, Asked
from bimcvr.search.asked.parsed_query import ParsedQuery
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import IndexedStudy
from bimcvr.search.query.highlights import HighlightSpan, highlight
from bimcvr.search.query.ranking import RankedRow
from bimcvr.search.query.results import Hit


def read_hits(
    index: Index, ranked: Sequence[RankedRow], query: ParsedQuery | None = None, asked: Asked = NOTHING
) -> tuple[Hit, ...]:
    """Read the studies of a ranking from the index.

    Args:
        index: the index.
        ranked: the rows, best first.
        query: the query's words, which are highlighted in the reports; None for a query without a text.
        asked: what it asks of findings, whose mentions are highlighted.

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
            tuple(_highlights(study, query, asked)),
            study.cells,
            row.cosine,
            row.vector_rank,
            row.words_rank,
            bool(study.geometry),
        )
        for rank, (row, study) in enumerate(zip(ranked, studies, strict=True), 1)
    )


def _highlights(study: IndexedStudy, query: ParsedQuery | None, asked: Asked) -> list[HighlightSpan]:
    return highlight(study.report, query, asked, study.cells.get("language", "")) if query is not None else []
