"""Reading an archive's CSV, TSV and .xlsx tables as text, in any of their encodings; nothing in a cell is executed.

Lines that are no valid rows (wrong number of cells, broken quoting, a null byte, a spreadsheet formula) are set aside.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.sources.workbook import read_workbook
from bimcvr.curation.study import SetAside
from bimcvr.data.spreadsheet_cells import is_formula
from bimcvr.data.text_table import TextTable, UnreadableTable, is_missing, present, read_text_table
from bimcvr.errors import UserError

_LONGEST_LIST = 1 << 16
_TEXT_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


@dataclass(frozen=True)
class SourceTable:
    """The content of a table file.

    Attributes:
        path: the file.
        columns: the header.
        rows: (line in the file, cell by column).
        set_aside: what could not be read, or only by guessing.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    set_aside: tuple[SetAside, ...]


def read_table(path: Path, required: Sequence[str] = ()) -> SourceTable:
    """Read an .xlsx workbook, or a table that is separated by commas, semicolons or tabs, as its header shows.

    UTF-8 with or without a byte-order mark and UTF-16 with one are recognised; anything else is read as Windows-1252,
    the encoding of older Spanish tables, and an entry of `set_aside` says so. Columns of the same name are one column
    where their cells agree; a row in which they differ is set aside. Columns without a name are left out.

    Args:
        path: the file.
        required: columns that the table must have.

    Raises:
        UserError: the table can be read, but one of the `required` columns is missing.
        MissingExtra: the table is a workbook, and the extra `xlsx` is not installed.
    """
    try:
        is_workbook = path.suffix.lower() == ".xlsx"
        content = read_workbook(path, required) if is_workbook else read_text_table(path, required)
    except UnreadableTable as error:
        message = f"{path} {error}. Download it again, or save it again as CSV."
        return SourceTable(path, (), (), (SetAside(path.name, "unreadable_table", message),))
    missing = [name for name in required if name not in content.columns]
    if missing:
        names = ", ".join(name for name in content.columns if name)
        raise UserError(f"{path} has no column {', '.join(missing)}; it has {names}. Rename a column or add it.")
    faults = [(line, reason, f"{problem}.") for line, problem, reason in content.bad_rows]
    rows: list[tuple[int, dict[str, str]]] = []
    for line, cells in content.rows:
        fault = _row_fault(content.columns, cells)
        if fault:
            faults.append((line, *fault))
        else:
            named = zip(content.columns, cells, strict=True)
            rows.append((line, {name: cell for name, cell in named if name}))
    set_aside = [
        *_table_notes(path, content),
        *(
            SetAside(f"{path.name}: line {line}", reason, f"{path}, line {line} {message}")
            for line, reason, message in sorted(faults)
        ),
    ]
    return SourceTable(path, tuple(dict.fromkeys(filter(None, content.columns))), tuple(rows), tuple(set_aside))


def _table_notes(path: Path, content: TextTable) -> Iterator[SetAside]:
    """Yield what concerns the whole table: a guessed encoding, and column names that appear twice."""
    if content.guessed_encoding:
        yield SetAside(
            path.name,
            "encoding",
            f"{path} is not UTF-8; it was read as {content.guessed_encoding}. Check that its accents are right.",
        )
    for name, count in Counter(filter(None, content.columns)).items():
        if count > 1:
            yield SetAside(
                f"{path.name}: {name}",
                "duplicate_column",
                f"{path} has {count} columns '{name}'. Rows in which they agree were taken. Remove or rename all but"
                " one.",
            )


def rows_by_key(tables: Iterable[SourceTable], key: str) -> tuple[dict[str, dict[str, str]], list[SetAside]]:
    """Return the rows of some tables by the cell of a column, the first of each.

    Args:
        tables: tables with that column.
        key: the column; it is not among the cells of a row.

    Returns:
        The cells by column of each key, and the rows that have no key, or that of an earlier row.
    """
    rows: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    set_aside = []
    for table in tables:
        for line, cells in table.rows:
            place, name = f"{table.path.name}: line {line}", present(cells[key])
            if not name:
                set_aside.append(SetAside(place, "no_key", f"{place} has no {key}. Fill it in."))
            elif name in rows:
                message = f"{place}: {key} {name} is already in {places[name]}. Keep one."
                set_aside.append(SetAside(place, "duplicate_row", message))
            else:
                rows[name], places[name] = {column: cell for column, cell in cells.items() if column != key}, place
    return rows, set_aside


def parse_list(cell: str) -> list[str]:
    """Read a stringified Python list of texts, the format of the archives' label columns.

    Items are stripped, and empty ones are left out. An empty cell is an empty list.

    Args:
        cell: the text of the cell.

    Raises:
        ValueError: the cell is not such a list.
    """
    return [item.strip() for item in _literal_list(cell) if not is_missing(item)]


def parse_sentences(cell: str) -> str:
    """Read a stringified list in which '' separates sentences, and return it as JSON: a list of lists.

    Args:
        cell: the text of the cell.

    Raises:
        ValueError: the cell is not such a list.
    """
    sentences: list[list[str]] = [[]]
    for item in _literal_list(cell):
        if item.strip():
            sentences[-1].append(item.strip())
        elif sentences[-1]:
            sentences.append([])
    return json.dumps([sentence for sentence in sentences if sentence], ensure_ascii=False)


def parse_codes(cell: str) -> list[str]:
    """Read a list of unquoted codes such as `[C0032227, C0034079]`."""
    codes = re.split(r"[,\s]+", "" if is_missing(cell) else cell.strip().strip("[]"))
    return [code.strip("'\"") for code in codes if code.strip("'\"")]


def _literal_list(cell: str) -> list[str]:
    cell = cell.strip()
    if is_missing(cell):
        return []
    if len(cell) > _LONGEST_LIST:
        raise ValueError(f"a list of {len(cell)} characters is too long")
    # Python would join two texts without a comma between them into one
    skeleton = _TEXT_LITERAL.sub("T", cell)
    if re.fullmatch(r"\[\s*T(\s+T)+\s*\]", skeleton):
        # numpy writes arrays of texts without commas
        cell = "[" + ",".join(_TEXT_LITERAL.findall(cell)) + "]"
    elif re.search(r"T\s*[a-zA-Z]?T", skeleton):
        raise ValueError("not a list (two texts have no comma between them)")
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"not a list ({type(error).__name__})") from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not a list of texts")
    return value


def _row_fault(columns: tuple[str, ...], cells: list[str]) -> tuple[str, str] | None:
    if len(cells) != len(columns):
        return (
            "unreadable_row",
            f"has {len(cells)} cells; the header has {len(columns)}. Look for a missing or stray separator.",
        )
    values: dict[str, str] = {}
    for name, cell in zip(columns, cells, strict=True):
        if name and values.setdefault(name, cell).strip() != cell.strip():
            return "duplicate_column", f"has two different cells in its columns '{name}'. Keep the right one."
    formula = next((name for name, cell in zip(columns, cells, strict=True) if is_formula(cell)), None)
    if formula is not None:
        return "formula", f"has a spreadsheet formula in column '{formula}'. Replace it by its text."
    return None
