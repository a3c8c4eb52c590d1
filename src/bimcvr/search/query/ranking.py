"""Ranking the rows of an index: by vectors, by words, and both fused."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bimcvr.errors import UserError
from bimcvr.search.asked.findings import Asked, agreeing
from bimcvr.search.index.reader import Index, Stream

RRF = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

FUSION_DEPTH = 1000
"""How many rows of each ranking a hybrid query fuses."""


@dataclass(frozen=True)
class RankedRow:
    """A row of the index in a ranking.

    Attributes:
        position: of the row in the index.
        score: what it is ranked by.
        cosine: as in `Hit`.
        vector_rank: as in `Hit`.
        words_rank: as in `Hit`.
    """

    position: int
    score: float
    cosine: float | None = None
    vector_rank: int | None = None
    words_rank: int | None = None


def rank_by_vector(
    index: Index, query: np.ndarray, into: Stream, depth: int, allowed: np.ndarray | None
) -> list[RankedRow]:
    """Rank rows by the cosine of their vectors with a query's.

    Args:
        index: the index.
        query: (E,).
        into: rank volumes (`image`) or reports (`report`).
        depth: how many rows to return at most.
        allowed: (N,) bool, the rows that may be returned; None for all.

    Returns:
        The rows, best first.

    Raises:
        UserError: the query's vector does not have the width of the index's.
    """
    if query.shape != (index.commit.dim,):
        raise UserError(
            f"The model's vectors have {len(query)} elements, those of the index {index.commit.dim}: it was made with"
            " another model."
        )
    (best,) = index.vectors(into).top(query[None], depth, allowed)
    return [
        RankedRow(int(position), float(score), cosine=float(score), vector_rank=rank)
        for rank, (position, score) in enumerate(zip(best.position, best.score, strict=True), 1)
    ]


def rank_by_words(index: Index, asked: Asked, depth: int, allowed: np.ndarray | None) -> tuple[list[RankedRow], int]:
    """Rank reports by full-text search; one that contradicts the query is no match (`asked.agreeing`).

    Args:
        index: the index.
        asked: the query's words, and what it asks of findings.
        depth: how many rows to return at most.
        allowed: (N,) bool, the rows that may be returned; None for all.

    Returns:
        The rows, best first, and how many reports contain words of the query but are no match.
    """
    scores = dict(index.word_ranks(asked.words, allowed))
    matches = agreeing(index, asked, list(scores))
    ranked = [RankedRow(row, scores[row], words_rank=rank) for rank, row in enumerate(matches[:depth], 1)]
    return ranked, len(scores) - len(matches)


def fuse(by_vector: Sequence[RankedRow], by_words: Sequence[RankedRow], index: Index) -> list[RankedRow]:
    """Fuse two rankings by reciprocal rank.

    A row's score is the sum of 1 / (60 + rank) over the rankings that it is in; ties are broken by study id.

    Args:
        by_vector: the ranking by vectors, best first.
        by_words: the ranking by words, best first.
        index: the index, for the order of its study ids.

    Returns:
        The rows of both rankings, best first.
    """
    vector_rows = {row.position: row for row in by_vector}
    words_ranks = {row.position: row.words_rank for row in by_words}
    fused = []
    for position in dict.fromkeys([*vector_rows, *words_ranks]):
        row, words_rank = vector_rows.get(position), words_ranks.get(position)
        vector_rank = row.vector_rank if row else None
        score = sum(1 / (RRF + rank) for rank in (vector_rank, words_rank) if rank)
        fused.append(RankedRow(position, score, row.cosine if row else None, vector_rank, words_rank))
    return sorted(fused, key=lambda row: (-row.score, index.order[row.position]))
