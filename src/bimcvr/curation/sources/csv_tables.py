"""The tables of an archive, cell by cell as text: any of the encodings met, and no cell that is a program.

Lines that are no rows of the table (too long, spoilt, a spreadsheet formula) are set aside, the others read.
"""

import ast
import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.study import SetAside
from bimcvr.errors import UserError

# far above any report, and below what makes Python's parser slow
_LONGEST_CELL = 1 << 20
_LONGEST_LIST = 1 << 16
# a spreadsheet runs a cell that begins like this; prose that begins with a dash or a sign does not match
_FORMULA = re.compile(r"\s*(=|@\w+\(|[+\-][\w.+\-*/]*[(!|])")


@dataclass(frozen=True)
class Table:
    """A table as it stands in its file.

    Attributes:
        path: the file.
        columns: the header.
        rows: (line in the file, cell by column).
        aside: what could not be read, or not as it should be.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    aside: tuple[SetAside, ...]


def read_table(path: Path, required: Sequence[str] = ()) -> Table:
    """Read a CSV file, or a TSV file if its name ends so.

    UTF-8 with or without a mark and UTF-16 with one are told apart; what is neither is read as Windows-1252, the
    encoding of older Spanish tables, and a line says so.

    Raises:
        UserError: the table can be read, but lacks one of the `required` columns.
    """
    table = _read(path)
    lacking = [name for name in required if name not in table.columns]
    if lacking and table.columns:
        raise UserError(
            f"{path} has no column {', '.join(lacking)}; it has {', '.join(table.columns)}. Rename or add it."
        )
    return table


def _read(path: Path) -> Table:
    raw = path.read_bytes()
    text, encoding = _decode(raw)
    if "\0" in text or not text.strip():
        why = "is empty" if not text.strip("\0 \r\n\t") else "holds bytes that no text has"
        return Table(path, (), (), (SetAside(path.name, "unreadable_table", f"{path} {why}. Fetch it again."),))
    aside = []
    if encoding:
        aside.append(
            SetAside(
                path.name,
                "encoding",
                f"{path} is not UTF-8; it was read as {encoding}. See whether its accents are right.",
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
                    reason, wrong = fault
                    aside.append(SetAside(f"{path.name}: line {line}", reason, f"{path}, line {line} {wrong}"))
                else:
                    rows.append((line, dict(zip(columns, cells, strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        aside.append(
            SetAside(
                f"{path.name}: line {line}",
                "unreadable_row",
                f"{path} cannot be read from line {line} on ({error}). Look for a quotation mark that is not closed.",
            )
        )
    return Table(path, columns, tuple(rows), tuple(aside))


def parse_list(cell: str) -> list[str]:
    """Read a stringified Python list of texts, as the archives' label columns are.

    Items lose their outer blanks, and empty ones are left out. An empty cell is an empty list.

    Raises:
        ValueError: the cell is no such list.
    """
    return [item.strip() for item in _literal_list(cell) if item.strip()]


def parse_sentences(cell: str) -> str:
    """Read a stringified list that '' cuts into sentences, and write it as JSON: a list of lists.

    Raises:
        ValueError: the cell is no such list.
    """
    sentences: list[list[str]] = [[]]
    for item in _literal_list(cell):
        if item.strip():
            sentences[-1].append(item.strip())
        elif sentences[-1]:
            sentences.append([])
    return json.dumps([sentence for sentence in sentences if sentence], ensure_ascii=False)


def parse_codes(cell: str) -> list[str]:
    """Read a list of codes whose items are not quoted, as `[C0032227, C0034079]`."""
    return [code.strip(" '\"") for code in cell.strip().strip("[]").split(",") if code.strip(" '\"")]


def _literal_list(cell: str) -> list[str]:
    cell = cell.strip()
    if not cell or cell == "nan":
        return []
    if len(cell) > _LONGEST_LIST:
        raise ValueError(f"a list of {len(cell)} characters is too long to be one")
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"not a list ({type(error).__name__})") from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not a list of texts")
    return value


def _decode(raw: bytes) -> tuple[str, str]:
    """Return the text, and the encoding's name if it had to be guessed."""
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
    formula = next((name for name, cell in zip(columns, cells, strict=True) if _FORMULA.match(cell)), None)
    if formula is not None:
        return "formula", f"has a spreadsheet formula in column '{formula}'. Put the text itself there."
    return None
