"""A table as Markdown, LaTeX (package booktabs) and CSV; all three print the same numbers."""

import csv
import io
import math
import re
from collections.abc import Sequence

from bimcvr.suites.tables.table import Cell, Table, TableRow

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\to$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "²": r"$^2$",
    "³": r"$^3$",
    "✓": r"$\surd$",
    "<": r"$<$",
    ">": r"$>$",
    "α": r"$\alpha$",
    "τ": r"$\tau$",
    "…": r"\dots{}",
    "∞": r"$\infty$",
    "“": "``",
    "”": "''",
}


def as_rows(table: Table) -> list[list[str]]:
    """Return the cells of a table as plain text, the heads first; of a row without figures its status stands there."""
    rows = [_heads(table)]
    for line in table.lines:
        cells = [_plain(line.cells.get(column)) for column in table.columns]
        if line.status:
            cells = [line.status, *[""] * (len(cells) - 1)]
        rows.append([line.title, line.source, *_facts(line, table.facts), *cells, *_facts(line, table.after)])
    return rows


def _heads(table: Table) -> list[str]:
    names = (f"{group} {name}".strip() for group, name in table.columns)
    return [table.head, "source", *table.facts, *names, *table.after]


def as_markdown(table: Table) -> str:
    """Format a table as Markdown, its caption above and its notes below."""
    heads = _heads(table)
    lines = [f"**{table.caption}**", "", _bar(heads), "|" + "---|" * len(heads)]
    for line in table.lines:
        cells = [_md(line.cells.get(column)) for column in table.columns]
        if line.status:
            cells = [line.status, *[""] * (len(cells) - 1)]
        lines.append(_bar([line.title, line.source, *_facts(line, table.facts), *cells, *_facts(line, table.after)]))
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)]).rstrip() + "\n"


def as_latex(table: Table) -> str:
    r"""Format a table as LaTeX: intervals in a line of their own below the values.

    It needs `\usepackage{booktabs}` and `\usepackage{graphicx}`.
    """
    heads = [table.head, "source", *table.facts]
    width = len(heads) + len(table.columns) + len(table.after)
    over, rules, at = [""] * len(heads), [], len(heads) + 1
    for group, count in table.groups:
        over.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(group)}}}")
        rules += [rf"\cmidrule(lr){{{at}-{at + count - 1}}}"] if group else []
        at += count
    body = [" & ".join([*over, *[""] * len(table.after)]) + r" \\", *rules] if rules else []
    body += [
        _row([*map(escape, heads), *(escape(name) for _, name in table.columns), *map(escape, table.after)]),
        r"\midrule",
    ]
    for line in table.lines:
        if line.source == "chance":
            body.append(r"\midrule")
        body += _latex_lines(line, table)
    notes = "".join(f"\n\n{escape(note)}" for note in table.notes)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(table.caption)}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{'l' * len(heads)}{'r' * (width - len(heads))}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\par\smallskip{{\footnotesize {notes.strip()}\par}}" if notes else "%",
            r"\end{table}",
            "",
        ]
    )


def as_csv(table: Table) -> str:
    """Format a table as CSV: a value, its sd and the bounds of its interval in separate columns.

    The first column is the caption, which says what the data are.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    parts = ("", " sd", " low", " high", " bold")
    names = [f"{group} {name}".strip() + part for group, name in table.columns for part in parts]
    writer.writerow(["table", table.head, "source", *table.facts, *names, *table.after, "status"])
    for line in table.lines:
        cells = [part for column in table.columns for part in _csv(line.cells.get(column))]
        facts, after = _facts(line, table.facts), _facts(line, table.after)
        writer.writerow([table.caption, line.title, line.source, *facts, *cells, *after, line.status])
    return stream.getvalue()


def escape(text: str) -> str:
    r"""Escape text so that LaTeX prints it literally.

    >>> print(escape("50 % of A_1 & B"))
    50 \% of A\_1 \& B
    """
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def _facts(line: TableRow, names: Sequence[str]) -> list[str]:
    return [line.facts.get(name, "") for name in names]


def _bar(cells: list[str]) -> str:
    return "| " + " | ".join(re.sub(r"[|\n]", "/", cell) for cell in cells) + " |"


def _md(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    return _plain(cell, f"**{cell.shown}**" if cell.bold else cell.shown)


def _plain(cell: Cell | None, shown: str = "") -> str:
    if cell is None:
        return "–"
    return " ".join(filter(None, [shown or cell.shown, f"± {cell.spread}" if cell.spread else "", cell.bounds]))


def _latex_lines(line: TableRow, table: Table) -> list[str]:
    before = [escape(line.title), line.source, *map(escape, _facts(line, table.facts))]
    after = [escape(text) for text in _facts(line, table.after)]
    if line.status:
        return [_row([*before, rf"\multicolumn{{{len(table.columns)}}}{{l}}{{{escape(line.status)}}}", *after])]
    cells = [line.cells.get(column) for column in table.columns]
    found = [_row([*before, *map(_latex, cells), *after])]
    if any(cell and cell.bounds for cell in cells):
        small = [rf"{{\scriptsize {escape(cell.bounds)}}}" if cell and cell.bounds else "" for cell in cells]
        found.append(_row([*[""] * len(before), *small, *[""] * len(after)]))
    return found


def _latex(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    shown = rf"\textbf{{{escape(cell.shown)}}}" if cell.bold else escape(cell.shown)
    return rf"{shown} $\pm$ {cell.spread}" if cell.spread else shown


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _csv(cell: Cell | None) -> list[str]:
    if cell is None:
        return [""] * 5
    low, high = (f"{of:.{cell.digits}f}" if math.isfinite(of) else "" for of in cell.interval or (math.inf, math.inf))
    return [cell.shown, cell.spread, low, high, "1" if cell.bold else ""]
