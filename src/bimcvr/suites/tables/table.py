"""The model of a table, before it is formatted as Markdown, LaTeX or CSV."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Source = Literal["measured", "paper", "chance", "ceiling", "not run", "failed"]
Column = tuple[str, str]
"""A group (a direction, a keyword) and the metric below it."""


@dataclass(frozen=True)
class Cell:
    """A value as it is printed.

    Attributes:
        value: text, or a number.
        sd: its standard deviation over seeds.
        interval: 95 %; an infinite bound is an open end.
        bold: whether it is best and significantly above the second.
        digits: decimals.
    """

    value: float | str
    sd: float | None = None
    interval: Sequence[float] | None = None
    bold: bool = False
    digits: int = 1

    @property
    def shown(self) -> str:
        """The value alone."""
        return self.value if isinstance(self.value, str) else f"{self.value:.{self.digits}f}"

    @property
    def spread(self) -> str:
        """The standard deviation; empty where there is none."""
        return "" if self.sd is None else f"{self.sd:.{self.digits}f}"

    @property
    def bounds(self) -> str:
        """The interval in brackets; empty where there is none."""
        if self.interval is None:
            return ""
        low, high = (f"{end:.{self.digits}f}" if math.isfinite(end) else "∞" for end in self.interval)
        return f"[{low}, {high}{')' if high == '∞' else ']'}"


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        title: The method.
        source: `measured` by this code, from the `paper`, a reference level (`chance`, `ceiling`), or why it is empty.
        facts: What is known of the method besides its values, by column.
        cells: Its values; a missing one is printed as a dash.
        status: In place of values, where there are none.
    """

    title: str
    source: Source
    facts: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[Column, Cell] = field(default_factory=dict)
    status: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its files.
        caption: says what it is about, and that it is about phantoms where it is.
        facts: columns before the figures.
        columns: the figures.
        after: columns of facts behind them.
        lines: the rows.
        notes: below it.
        head: of the first column.
        heading: above it on the page; empty where it belongs to the table before it.
    """

    name: str
    caption: str
    facts: Sequence[str]
    columns: Sequence[Column]
    after: Sequence[str]
    lines: Sequence[TableRow]
    notes: Sequence[str] = ()
    head: str = "Method"
    heading: str = ""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups of columns with their widths."""
        found: list[tuple[str, int]] = []
        for group, _ in self.columns:
            if found and found[-1][0] == group:
                found[-1] = (group, found[-1][1] + 1)
            else:
                found.append((group, 1))
        return found
