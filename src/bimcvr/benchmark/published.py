"""The paper's own figures, as rows of their own that say so."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bimcvr.benchmark.table import Cell, Column, Line


@cache
def published() -> Mapping[str, Any]:
    """Return what `published.yaml` holds."""
    content: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))
    return content


def published_rows() -> list[str]:
    """Return the names of the rows of Tables 2 to 4."""
    return list(dict.fromkeys(name for table in (2, 3, 4) for name in published()[f"table_{table}"]["rows"]))


def note() -> str:
    """Say what the rows marked `paper` are."""
    return (f"Rows marked “paper” are published figures ({published()['source']}): measured there, on BIMCV-R, under that paper's "
            "protocol, and not by this code.")


def paper_lines(table: int, columns: Sequence[Column], groups: Mapping[str, str], percent: bool = False) -> dict[str, Line]:
    """Return a table's published rows by their names.

    Args:
        table: its number.
        columns: those to fill, as (group, figure).
        groups: for each group of the printed table its name in ours.
        percent: whether shares of 1 are to be printed in percent.
    """
    printed = published()[f"table_{table}"]
    lines = {}
    for title, of in printed["rows"].items():
        cells: dict[Column, Cell] = {}
        for key, group in groups.items():
            named = dict(zip(printed["columns"], of[key] if isinstance(of, dict) else of, strict=True))
            cells |= {(group, name): Cell(f"{100 * value:.0f}" if percent else str(value))
                      for name, value in named.items() if (group, name) in columns}
        facts = {}
        if "sampler" in of:
            facts = {"text sampler": "✓" * of["sampler"], "L_mse": "✓" * of["l_mse"]}
        lines[title] = Line(f"paper: {title}", "paper", facts, cells)
    return lines
