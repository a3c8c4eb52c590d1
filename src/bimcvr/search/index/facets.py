"""How many studies have each label and each value of a column, among those that pass some filters."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bimcvr.data.manifest import split_list
from bimcvr.search.index.filters import parse_where
from bimcvr.search.index.reader import Index


@dataclass(frozen=True)
class Facets:
    """Counts of what passes some filters.

    Attributes:
        studies: how many studies pass.
        labels: label → how many of them have it, so how many are left if it is asked for too.
        columns: column → value → how many studies are left if this value is chosen instead of the one that is.
    """

    studies: int
    labels: dict[str, int]
    columns: dict[str, dict[str, int]]


def count_facets(index: Index, chosen: Sequence[str], others: Sequence[str], columns: Sequence[str]) -> Facets:
    """Count labels and values under filters.

    Args:
        index: the index.
        chosen: single conditions of the reader's choice; that on a column does not count among the column's own values.
        others: single conditions that always count.
        columns: the columns whose values are counted.

    Returns:
        The counts, of every label and value that the index has, also where none is left.

    Raises:
        UserError: a condition is not valid.
    """
    everything = np.ones(len(index), dtype=bool)
    always = index.mask(others)
    always = everything if always is None else always
    masks = [(parse_where([one], index.columns)[0].column, index.mask([one])) for one in chosen if one.strip()]

    def passing(column: str = "") -> np.ndarray:
        mask = always.copy()
        for name, own in masks:
            if name != column and own is not None:
                mask &= own
        return mask

    left = passing()
    labels: Counter[str] = Counter(dict.fromkeys(index.label_counts(), 0))
    for cell, number in _counts(index, "labels", left).items():
        labels.update(dict.fromkeys(split_list(cell), number))
    return Facets(int(left.sum()), dict(labels), {name: _counts(index, name, passing(name)) for name in columns})


def _counts(index: Index, column: str, mask: np.ndarray) -> dict[str, int]:
    cells, codes = index.distinct(column)
    return dict(zip(cells, np.bincount(codes[mask], minlength=len(cells)).tolist(), strict=True))
