"""Filters on a manifest's columns: `age >= 60 and labels = pleural effusion`.

A condition is parsed and evaluated here, on the values of the column: no part of it ever reaches a query language.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bimcvr.data.manifest import split_list
from bimcvr.errors import UserError
from bimcvr.suggest import did_you_mean

_OPERATORS = ("<=", ">=", "!=", "=", "<", ">")
_OPERATOR = re.compile("|".join(_OPERATORS))
# an `and` inside a quoted value does not split; a quote elsewhere is an apostrophe
_AND = re.compile(r"""([=<>]\s*(?:"[^"]*"|'[^']*')(?=\s*$|\s+and\s))|\s+and\s+""", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")
_HOW = "Write COLUMN OPERATOR VALUE with one of = != < <= > >=, joined by `and`: age >= 60 and labels = nodule."


@dataclass(frozen=True)
class Condition:
    """One condition on a row.

    Attributes:
        column: a column of the manifest.
        operator: `=` and `!=` compare with the whole cell or any of its `;`-separated items; the others compare
            numbers, or dates like 2020-03-31.
        value: what the cell is compared with.
    """

    column: str
    operator: str
    value: str

    def holds(self, cells: Sequence[str]) -> np.ndarray:
        """Return for each cell whether the condition holds; an empty cell is in no range.

        Args:
            cells: n cells of the column.

        Returns:
            (n,) bool.

        Raises:
            UserError: the value or the column cannot be compared in this way.
        """
        if self.operator in ("=", "!="):
            equal = [cell == self.value or self.value in split_list(cell) for cell in cells]
            return np.array(equal, dtype=bool) ^ (self.operator == "!=")
        compare = _COMPARE[self.operator]
        if _DATE.fullmatch(self.value):
            return np.array(
                [bool(_DATE.match(cell)) and compare(cell[: len(self.value)], self.value) for cell in cells], dtype=bool
            )
        limit = _number(self.value)
        if limit is None:
            raise UserError(
                f"'{self.column} {self.operator} {self.value}': ranges need a number, or a date like 2020-03-31."
            )
        numbers = [_number(cell) for cell in cells]
        if cells and all(number is None for number in numbers):
            raise UserError(
                f"'{self.column} {self.operator} {self.value}': the column '{self.column}' contains no number. "
                "Compare it with = or !=."
            )
        return np.array([number is not None and compare(number, limit) for number in numbers], dtype=bool)


_COMPARE: dict[str, Callable[..., bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def parse_where(where: str | Sequence[str], columns: Sequence[str]) -> list[Condition]:
    """Parse conditions, all of which must hold.

    Args:
        where: one text with conditions joined by `and` (a value that contains a separate `and` must be in quotes), or
            a sequence of single conditions.
        columns: the columns that may be named.

    Returns:
        The conditions, in order.

    Raises:
        UserError: a text is not a condition, or names an unknown column.

    Example:
        >>> parse_where("age >= 60 and labels = 'pleural effusion'", ["age", "labels"])[1].value
        'pleural effusion'
    """
    parts = split_where(where) if isinstance(where, str) else list(where)
    return [_condition(part, columns) for part in parts if part.strip()]


def split_where(text: str) -> list[str]:
    """Split a text at each `and` between conditions, but not at one inside a quoted value."""
    parts, start = [], 0
    for match in _AND.finditer(text):
        if match.group(1) is None:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _condition(text: str, columns: Sequence[str]) -> Condition:
    text = text.strip()
    # a column's name may have an operator in it
    named = [name for name in columns if text.startswith(name) and _OPERATOR.match(text[len(name) :].lstrip())]
    match = _OPERATOR.search(text, len(max(named, key=len, default="")))
    if match is None:
        raise UserError(f"'{text}' is not a condition. {_HOW}")
    column, value = text[: match.start()].strip(), text[match.end() :].strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if column not in columns:
        hint = did_you_mean(column, columns)
        raise UserError(f"The index has no column '{column}'.{hint} Its columns are {', '.join(columns)}.")
    return Condition(column, match.group(), value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if number != number else number
