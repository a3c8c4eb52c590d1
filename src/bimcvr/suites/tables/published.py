"""The paper's own numbers, in separate tables that say so."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bimcvr.suites.tables.table import Cell, Column, Table, TableRow

MARK = "paper (published, BIMCV-R)"
"""In the header of every column of published numbers."""

BESIDE = "our row"


@cache
def published() -> Mapping[str, Any]:
    """Return what `published.yaml` holds."""
    content: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))
    return content


def published_rows() -> list[str]:
    """Return the names of the rows of Tables 2 to 4."""
    return list(dict.fromkeys(name for table in (2, 3, 4) for name in published()[f"table_{table}"]["rows"]))


def paper_table(
    number: int, groups: Mapping[str, str], data: str, beside: Mapping[str, str], percent: bool = False
) -> Table:
    """Return a table of published numbers; they are never mixed into a table of ours.

    Args:
        number: The table's number.
        groups: The title of each group of columns of the printed table.
        data: What ours was measured on, in words.
        beside: For published rows the title of ours that corresponds to it.
        percent: Whether shares of 1 are printed in percent.
    """
    printed = published()[f"table_{number}"]
    columns: list[Column] = [
        (f"{MARK} {title}".strip(), name) for title in groups.values() for name in printed["columns"]
    ]
    lines = []
    for title, row in printed["rows"].items():
        values = [value for key in groups for value in (row[key] if isinstance(row, dict) else row)]
        cells = {
            column: Cell(f"{100 * value:.0f}" if percent else str(value))
            for column, value in zip(columns, values, strict=True)
        }
        facts = {BESIDE: beside.get(title, "")}
        if "sampler" in row:
            facts |= {"text sampler": "✓" * row["sampler"], "L_mse": "✓" * row["l_mse"]}
        lines.append(TableRow(title, "paper", facts, cells))
    caption = (
        f"Table {number} as published ({published()['source']}): numbers on BIMCV-R, under that paper's protocol, not "
        f"of this code and not on {data}."
    )
    notes = (
        ["P@K are printed there as shares of 1; here times 100. Their prevalence is not published."] if percent else []
    )
    facts_of = () if number == 1 else (("text sampler", "L_mse", BESIDE) if number == 4 else (BESIDE,))
    return Table(
        f"table{number}_paper", caption, facts_of, columns, (), lines, notes, "Statistic" if number == 1 else "Method"
    )
