"""Relevance feedback: a query moved towards studies that fit and away from those that do not (Rocchio)."""

from collections.abc import Sequence

import numpy as np

from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.reader import Index

START, TOWARDS, AWAY = 1.0, 0.75, 0.15
"""The weights of Rocchio's formula, as in Manning, Raghavan and Schütze, Introduction to Information Retrieval, 9.1."""


def moved_query(
    index: Index, relevant: Sequence[str], not_relevant: Sequence[str], start: np.ndarray | None = None
) -> np.ndarray:
    """Return 1 × the query + 0.75 × the mean of what fits − 0.15 × the mean of what does not, of unit vectors.

    Args:
        index: the index.
        relevant: studies that fit; their volumes' vectors count.
        not_relevant: studies that do not.
        start: the query's vector (E,), of any norm; None where the studies alone are the query.

    Returns:
        (E,) float64.

    Raises:
        UserError: there is no such study.
    """
    moved = np.zeros(index.commit.dim) if start is None else START * unit_vector(start)
    for weight, studies in ((TOWARDS, relevant), (-AWAY, not_relevant)):
        if studies:
            rows = [unit_vector(index.image.row(index.position(study))) for study in studies]
            moved = moved + weight * np.mean(rows, axis=0)
    return np.asarray(moved)
