"""Markdown, LaTeX and CSV print the same numbers, and LaTeX prints every text as it is."""

import csv
import io
import math
import re

from hypothesis import given
from hypothesis import strategies as st

from bimcvr.suites.tables.table import Cell, Column, Table, TableRow
from bimcvr.suites.tables.table_formats import as_csv, as_latex, as_markdown, as_rows, escape

COLUMNS: list[Column] = [("text → image", "R@1"), ("text → image", "MdR"), ("image → text", "R@1")]
NUMBER = st.floats(0, 999, allow_nan=False)
CELL = st.builds(Cell, NUMBER, st.none() | NUMBER, st.lists(NUMBER, min_size=2, max_size=2), st.booleans())


def table(lines: list[TableRow]) -> Table:
    return Table("t", "Phantom & co.", ("text encoder",), COLUMNS, ("trials",), lines, ("50 % of A_1",))


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELL), min_size=1, max_size=4))
def test_the_three_forms_hold_the_same_numbers(rows: list[dict[Column, Cell]]) -> None:
    made = table(
        [
            TableRow(f"row{'x' * place}", "measured", {"text encoder": "MiniLM"}, cells)
            for place, cells in enumerate(rows)
        ]
    )
    markdown = [_numbers(line) for line in as_markdown(made).splitlines() if line.startswith("| row")]
    parsed = list(csv.reader(io.StringIO(as_csv(made))))[1:]
    from_csv = [sorted(cell for place, cell in enumerate(line[4:-2]) if cell and place % 5 != 4) for line in parsed]
    latex: list[list[str]] = []
    for line in as_latex(made).splitlines():
        if line.startswith("row"):
            latex.append(_numbers(line))
        elif line.startswith(" & ") and "scriptsize" in line:
            latex[-1] += _numbers(line)
    assert [sorted(of) for of in markdown] == from_csv == [sorted(of) for of in latex]


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELL), min_size=1, max_size=4))
def test_every_latex_row_has_the_columns_of_its_tabular(rows: list[dict[Column, Cell]]) -> None:
    lines = [TableRow("a & b_c", "measured", {"text encoder": "50 % #1"}, cells) for cells in rows]
    made = table([*lines, TableRow("off", "not run", status="weights_absent")])
    text = as_latex(made)
    width = len(re.findall("[lr]", re.search(r"\\begin\{tabular\}\{([lr]+)\}", text).group(1)))  # type: ignore[union-attr]
    for line in text.splitlines():
        if line.endswith(r"\\"):
            spans = sum(int(of) - 1 for of in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spans == width, line
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count(r"\begin{") == text.count(r"\end{")


def test_bold_and_absent_figures() -> None:
    one = TableRow("one", "measured", cells={COLUMNS[0]: Cell(12.34, bold=True)})
    made = table([one, TableRow("two", "not run", status="not run: weights absent")])
    assert "| one | measured |  | **12.3** | – | – |  |" in as_markdown(made)
    assert r"one & measured &  & \textbf{12.3} & -- & -- &" in as_latex(made)
    assert "two | not run |  | not run: weights absent |" in as_markdown(made)
    assert as_rows(made)[1:] == [
        ["one", "measured", "", "12.3", "–", "–", ""],
        ["two", "not run", "", "not run: weights absent", "", "", ""],
    ]
    assert next(csv.DictReader(io.StringIO(as_csv(made))))["text → image R@1 bold"] == "1"


def test_an_open_interval_has_no_infinite_number() -> None:
    made = table([TableRow("one", "measured", cells={COLUMNS[0]: Cell(2.0, interval=(1.5, math.inf))})])
    assert "2.0 [1.5, ∞)" in as_markdown(made)
    assert r"[1.5, $\infty$)" in as_latex(made)
    line = next(csv.DictReader(io.StringIO(as_csv(made))))
    assert (line["text → image R@1 low"], line["text → image R@1 high"]) == ("1.5", "")


def test_latex_escapes() -> None:
    assert escape(r"a_b & 5 % #1 {x} ~^ \ → ± – <") == (
        r"a\_b \& 5 \% \#1 \{x\} \textasciitilde{}\textasciicircum{} \textbackslash{} $\to$ $\pm$ -- $<$"
    )


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+\.\d+", text)
