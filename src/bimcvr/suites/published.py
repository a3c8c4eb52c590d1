"""The paper's own figures, in tables of their own that say so."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bimcvr.suites.table import Cell, Column, Line, Table

MARK = "paper (published, BIMCV-R)"
"""Stands in the header row of every column of published figures."""

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
    """Return a table's published figures: never in a table of ours, whose columns are other columns.

    Args:
        number: of the table.
        groups: for each group of the printed table its title.
        data: what ours was measured on, in words.
        beside: for published rows the title of ours that corresponds to it.
        percent: whether shares of 1 are to be printed in percent.
    """
    printed = published()[f"table_{number}"]
    columns: list[Column] = [
        (f"{MARK} {title}".strip(), name) for title in groups.values() for name in printed["columns"]
    ]
    lines = []
    for title, of in printed["rows"].items():
        values = [value for key in groups for value in (of[key] if isinstance(of, dict) else of)]
        cells = {
            column: Cell(f"{100 * value:.0f}" if percent else str(value))
            for column, value in zip(columns, values, strict=True)
        }
        facts = {BESIDE: beside.get(title, "")}
        if "sampler" in of:
            facts |= {"text sampler": "✓" * of["sampler"], "L_mse": "✓" * of["l_mse"]}
        lines.append(Line(title, "paper", facts, cells))
    caption = (
        f"Table {number} as published ({published()['source']}): figures of BIMCV-R, under that paper's protocol, not "
        f"of this code and not on {data}."
    )
    notes = (
        ["P@K are printed there as shares of 1; here times 100. Their prevalence is not published."] if percent else []
    )
    facts_of = () if number == 1 else (("text sampler", "L_mse", BESIDE) if number == 4 else (BESIDE,))
    return Table(
        f"table{number}_paper", caption, facts_of, columns, (), lines, notes, "Statistic" if number == 1 else "Method"
    )
