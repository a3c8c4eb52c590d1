"""Reading a sheet of an .xlsx workbook as text; nothing in a cell is executed, and no formula's result is taken."""

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bimcvr.curation.archives.zip_directory import ZIP_DAMAGE, UnreadableZip, member_fault, open_zip
from bimcvr.data.text_table import BadRow, TextTable, UnreadableTable
from bimcvr.decompression_bombs import RATIO, is_bomb
from bimcvr.extras import require_extra

_LARGEST = 2 * 10**9  # bytes of all members: over ten times what a table of 100,000 reports unpacks to
_MOST_ROWS, _MOST_COLUMNS = 1 << 20, 1 << 10
_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"
_NO_VALUE = "#N/A"


def read_workbook(path: Path, required: Sequence[str] = ()) -> TextTable:
    """Read the first sheet that has the required columns in its first row with content; without one, the first sheet.

    Numbers are written as Excel shows them without a format (`5`, not `5.0`), dates as ISO 8601, an error of Excel's
    `#N/A` as an empty cell. Rows with a formula, or with another error, are bad: only the program that wrote the file
    can say what they mean.

    Args:
        path: the .xlsx file.
        required: columns that the sheet is expected to have.

    Returns:
        The cells; `line` is Excel's row number.

    Raises:
        UnreadableTable: the file is damaged, unpacks to suspiciously much, is no workbook or has no sheet with content.
        MissingExtra: the extra `xlsx` is not installed.
    """
    require_extra("xlsx", "tables in .xlsx files")
    _check_archive(path)
    import openpyxl

    try:
        with warnings.catch_warnings(action="ignore"):  # about styles and extensions that are not read
            book = openpyxl.load_workbook(path, read_only=True, keep_links=False)
            try:
                sheets = [table for sheet in book.worksheets if (table := _read_sheet(sheet))]
            finally:
                book.close()
    except (*ZIP_DAMAGE, LookupError, TypeError, AttributeError, SyntaxError) as error:
        raise UnreadableTable(f"is no readable .xlsx workbook ({type(error).__name__})") from error
    if not sheets:
        raise UnreadableTable("is empty")
    return next((table for table in sheets if set(required) <= set(table.columns)), sheets[0])


def _check_archive(path: Path) -> None:
    """Refuse a file that is no zip, or one whose members would unpack to suspiciously much."""
    with path.open("rb") as stream:
        if stream.read(4) == _OLD_OR_ENCRYPTED:
            raise UnreadableTable("is an old .xls workbook, or one with a password, not an .xlsx workbook")
    try:
        with open_zip(path) as packed:
            members = packed.infolist()
    except UnreadableZip as error:
        raise UnreadableTable(str(error).rstrip(".")) from error
    faults = [fault for member in members if (fault := member_fault(member, RATIO))]
    unpacked = sum(member.file_size for member in members)
    if is_bomb(unpacked, path.stat().st_size) or unpacked > _LARGEST:
        raise UnreadableTable(f"would unpack to {unpacked / 1e6:.0f} MB, which no table of reports does")
    if faults:
        raise UnreadableTable(f"has a member that {faults[0][1].rstrip('.')}")


def _read_sheet(sheet: Any) -> TextTable | None:
    """Return the table of a sheet; None if it is empty."""
    # what the file says about its size may be wrong
    sheet.reset_dimensions()
    header = next(_filled(sheet, _MOST_COLUMNS), None)
    if header is None:
        return None
    first, names = header
    columns = tuple(_text(cell).strip() for cell in names)
    while columns and not columns[-1]:
        columns = columns[:-1]
    rows, bad_rows = [], []
    # one more, to see whether a row has more cells than the header
    for line, cells in _filled(sheet, len(columns) + 1, first + 1):
        fault = next((fault for cell in cells if (fault := _fault(cell))), None)
        if fault:
            bad_rows.append(BadRow(line, *fault))
        else:
            texts = [_text(cell) for cell in cells]
            rows.append((line, texts[:-1] if len(texts) > len(columns) and not texts[-1] else texts))
    return TextTable(columns, rows, bad_rows, "")


def _filled(sheet: Any, columns: int, start: int = 1) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the rows that are not empty, with their numbers; bounded, since a file can claim any number."""
    rows = sheet.iter_rows(min_row=start, max_row=_MOST_ROWS, max_col=columns)
    for line, cells in enumerate(rows, start):
        if any(cell.value not in (None, "") for cell in cells):
            yield line, cells


def _fault(cell: Any) -> tuple[str, str] | None:
    """Return what is wrong with a cell, and the reason; None if it can be taken."""
    if cell.data_type == "f":
        return f"has a formula in column {cell.column_letter}. Replace it by its text", "formula"
    if cell.data_type == "e" and cell.value != _NO_VALUE:
        return f"has Excel's error {cell.value} in column {cell.column_letter}. Correct it", "unreadable_row"
    return None


def _text(cell: Any) -> str:
    value = cell.value
    if value is None or value == _NO_VALUE:
        return ""
    if isinstance(value, str):
        # how Excel stores a carriage return
        return value.replace("_x000D_\n", "\n").replace("_x000D_", "\n")
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
