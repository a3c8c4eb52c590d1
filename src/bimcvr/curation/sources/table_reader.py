"""Reading an archive's CSV and TSV tables as text, in any of their encodings; nothing in a cell is executed.

Lines that are no valid rows (wrong number of cells, broken quoting, a spreadsheet formula) are set aside.
"""

import ast
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.spreadsheet_cells import is_formula
from bimcvr.curation.study import SetAside
from bimcvr.errors import UserError

# far above any report, and below what makes Python's parser slow
_LONGEST_CELL = 1 << 20
_LONGEST_LIST = 1 << 16


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
    """Read a CSV file, or a TSV file if its name ends so.

    UTF-8 with or without a byte-order mark and UTF-16 with one are recognised; anything else is read as Windows-1252,
    the encoding of older Spanish tables, and an entry of `set_aside` says so.

    Args:
        path: the file.
        required: columns that the table must have.

    Raises:
        UserError: the table can be read, but one of the `required` columns is missing.
    """
    table = _read(path)
    missing = [name for name in required if name not in table.columns]
    if missing and table.columns:
        raise UserError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(table.columns)}. Rename a column or add it."
        )
    return table


def _read(path: Path) -> SourceTable:
    raw = path.read_bytes()
    text, encoding = _decode(raw)
    if "\0" in text or not text.strip():
        problem = "is empty" if not text.strip("\0 \r\n\t") else "contains null bytes"
        return SourceTable(
            path, (), (), (SetAside(path.name, "unreadable_table", f"{path} {problem}. Download it again."),)
        )
    set_aside = []
    if encoding:
        set_aside.append(
            SetAside(
                path.name,
                "encoding",
                f"{path} is not UTF-8; it was read as {encoding}. Check that its accents are right.",
            )
        )
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    rows: list[tuple[int, dict[str, str]]] = []
    columns: tuple[str, ...] = ()
    line = 1
    try:
        for cells in reader:
            if not columns:
                columns = tuple(cell.strip() for cell in cells)
            elif any(cell.strip() for cell in cells):
                fault = _row_fault(columns, cells)
                if fault:
                    reason, message = fault
                    set_aside.append(SetAside(f"{path.name}: line {line}", reason, f"{path}, line {line} {message}"))
                else:
                    rows.append((line, dict(zip(columns, cells, strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        set_aside.append(
            SetAside(
                f"{path.name}: line {line}",
                "unreadable_row",
                f"{path} cannot be read from line {line} on ({error}). Look for an unclosed quotation mark.",
            )
        )
    return SourceTable(path, columns, tuple(rows), tuple(set_aside))


def parse_list(cell: str) -> list[str]:
    """Read a stringified Python list of texts, the format of the archives' label columns.

    Items are stripped, and empty ones are left out. An empty cell is an empty list.

    Args:
        cell: the text of the cell.

    Raises:
        ValueError: the cell is not such a list.
    """
    return [item.strip() for item in _literal_list(cell) if item.strip()]


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
    return [code.strip(" '\"") for code in cell.strip().strip("[]").split(",") if code.strip(" '\"")]


def _literal_list(cell: str) -> list[str]:
    cell = cell.strip()
    if not cell or cell == "nan":
        return []
    if len(cell) > _LONGEST_LIST:
        raise ValueError(f"a list of {len(cell)} characters is too long")
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"not a list ({type(error).__name__})") from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not a list of texts")
    return value


def _decode(raw: bytes) -> tuple[str, str]:
    """Return the text, and the name of its encoding if it had to be guessed."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace"), ""
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "Latin-1"


def _row_fault(columns: tuple[str, ...], cells: list[str]) -> tuple[str, str] | None:
    if len(cells) != len(columns):
        return (
            "unreadable_row",
            f"has {len(cells)} cells; the header has {len(columns)}. Look for a missing or stray separator.",
        )
    formula = next((name for name, cell in zip(columns, cells, strict=True) if is_formula(cell)), None)
    if formula is not None:
        return "formula", f"has a spreadsheet formula in column '{formula}'. Replace it by its text."
    return None
