"""The one reader of CSV and TSV tables: strict about quotation marks, and a bad row never costs another row.

Encoding and separator are recognised; every row that cannot be read for certain is reported with its line.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# far above any report, and below what makes Python's parser slow
_LONGEST_CELL = 1 << 20
_SEPARATORS = (",", ";", "\t")
# the line with which Excel names the separator
_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
# what pandas, numpy, R, SQL and spreadsheets write for a missing value, and Excel for a long number, which has then
# lost its last digits: many ids become one
_MISSING = re.compile(
    r"[<(\[{]?(?:nan|none|null|na|n/a|n\.a\.?|nat|undefined|missing)[>)\]}]?|[-+]nan|\\n|\[\]|\"\"|''|-+|\?+|\.+"
    r"|#(?:n/a(?: n/a)?|na|ref!|value!|div/0!|name\?|num!|null!|calc!|spill!)|-?1\.#(?:ind|qnan)"
    r"|\d(?:[.,]\d+)?e\+\d+",
    re.IGNORECASE,
)
# marks without a width: a byte-order mark inside a joined file, blanks of web pages
_INVISIBLE = dict.fromkeys((0x200B, 0x2060, 0xFEFF))


class UnreadableTable(ValueError):
    """A file is no table at all; the message is the end of a sentence that begins with the file."""


class BadRow(NamedTuple):
    """A row that cannot be read.

    Attributes:
        line: its line.
        problem: the end of a sentence that begins with file and line.
        reason: a short name to count by.
    """

    line: int
    problem: str
    reason: str = "unreadable_row"


@dataclass(frozen=True)
class TextTable:
    """The content of a table file; every cell is text.

    Attributes:
        columns: the cells of the header, stripped; a name can appear twice.
        rows: the line in the file (from 1), and the cells, which can be fewer or more than the columns.
        bad_rows: the rows that could not be read.
        guessed_encoding: the encoding, if the file does not say it and it is not UTF-8; else empty.
    """

    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]
    bad_rows: list[BadRow]
    guessed_encoding: str


def read_text_table(path: Path, required: Sequence[str] = ()) -> TextTable:
    """Read a table that is separated by commas, semicolons or tabs; blank rows are left out.

    Quotation marks are read strictly (RFC 4180). A row with an unclosed quotation mark is bad; the next row begins at
    the next line. So is a row with a cell that begins or ends with a quotation mark without its partner, and a cell of
    several lines in which a line looks like a row of its own.

    Args:
        path: the file, in UTF-8, UTF-16 or an older Windows encoding. A first line `sep=;` names the separator;
            otherwise the header shows it.
        required: columns that the header is expected to have, which help to recognise the separator.

    Raises:
        UnreadableTable: the file is empty, or its header cannot be read.
    """
    text, encoding = _decode(path.read_bytes())
    if not text.strip("\0 \r\n\t"):
        raise UnreadableTable("contains only null bytes" if "\0" in text else "is empty")
    lines = list(io.StringIO(text.translate(_INVISIBLE), newline=""))
    del text
    sep_line = _SEP_LINE.fullmatch(lines[0])
    first = 1 if sep_line else 0
    while first < len(lines) - 1 and not lines[first].strip():
        first += 1
    separator = sep_line[1] if sep_line else _separator_of(lines[first], path, required)
    columns: tuple[str, ...] = ()
    rows: list[tuple[int, list[str]]] = []
    bad_rows: list[BadRow] = []
    for line, cells in _records(lines, first, separator):
        if isinstance(cells, str):
            problem = cells
        else:
            problem = "contains a null byte" if any("\0" in cell for cell in cells) else ""
        if problem and not columns:
            raise UnreadableTable(f"has a header (line {line + 1}) that {problem}")
        if problem:
            bad_rows.append(BadRow(line + 1, problem))
        elif not columns:
            columns = tuple(cell.strip() for cell in cells)
        elif columns == tuple(cell.strip() for cell in cells):
            bad_rows.append(BadRow(line + 1, "repeats the header: two tables were joined"))
        elif any(cell.strip() for cell in cells):
            rows.append((line + 1, list(cells)))
    return TextTable(columns, rows, sorted(bad_rows), encoding)


def is_missing(cell: str) -> bool:
    """Return whether a cell is blank or has only the text that programs write for a missing value, like `nan`."""
    text = cell.strip()
    return not text or bool(_MISSING.fullmatch(text))


def present(cell: str) -> str:
    """Return a stripped cell; empty if its text stands for a missing value."""
    return "" if is_missing(cell) else cell.strip()


def _records(lines: list[str], start: int, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield each record's first line (from 0) with its cells, or with what is wrong with it."""
    csv.field_size_limit(_LONGEST_CELL)
    while start < len(lines):
        reader = csv.reader(_from(lines, start), delimiter=separator, strict=True)
        position, torn = start, 0
        try:
            for cells in reader:
                end = start + reader.line_num
                torn = _lines_of_torn_row(lines[position:end], cells, separator)
                if torn:
                    yield position, "has a quotation mark that is closed in a later row only. Close it in its own row"
                    break
                yield (
                    position,
                    "has a quotation mark without its partner" if _is_torn(lines[position:end], cells) else cells,
                )
                position = end
            else:
                return
        except csv.Error as error:
            yield position, f"cannot be read ({error}). Look for an unclosed quotation mark"
        start = position + (torn or 1)


def _is_torn(raw: list[str], cells: list[str]) -> bool:
    """Return whether a record has an odd number of quotation marks, one of them at the edge of a cell.

    Inside an unquoted cell (`5" wide`) a single mark is text.
    """
    if sum(line.count('"') for line in raw) % 2 == 0:
        return False
    return any(cell.strip()[:1] == '"' or cell.strip()[-1:] == '"' for cell in cells if cell.count('"') % 2)


def _from(lines: list[str], start: int) -> Iterator[str]:
    return (lines[number] for number in range(start, len(lines)))


def _lines_of_torn_row(lines: list[str], cells: list[str], separator: str) -> int:
    """Return how many lines are of the first row of a record that holds several; 0 if it is one row.

    A cell of several lines then holds the rest of its own row and the beginning of another. Either a further line looks
    like a row: as many cells, and a key or a file's name of the same shape before the cell in question. Or a line
    before the last ends like a row: with cells of the same shape as those behind that cell.
    """
    long = [place for place, cell in enumerate(cells) if "\n" in cell or "\r" in cell]
    if len(lines) < 2 or not long:
        return 0
    before, behind = cells[: long[0]], cells[long[-1] + 1 :]
    for number, line in enumerate(lines):
        # a quick look at each line of a long report
        if number and line.count(separator) >= len(cells) - 1:
            row = next(csv.reader([line], delimiter=separator), [])
            if len(row) == len(cells) and _begins_alike(row, before):
                return number
        if behind and number < len(lines) - 1 and line.count(separator) >= len(behind):
            end = line.rstrip("\r\n").split(separator)[-len(behind) :]
            if _any_alike(end, behind):
                return number + 1
    return 0


def _begins_alike(row: list[str], before: list[str]) -> bool:
    # a first cell with a number is a key; without one it may be the first word of a line
    shape = _shape(before[0]) if before else ""
    return ("9" in shape and _shape(row[0]) == shape) or _any_alike(row, before)


def _any_alike(some: list[str], others: list[str]) -> bool:
    """Return whether two cells in one place have the same shape, that of a key or a file's name: `a9`, `a.a.a`."""
    shapes = ((_shape(one), _shape(other)) for one, other in zip(some, others, strict=False))
    return any(one == other and "a" in one and re.search("[9./_]", one) for one, other in shapes)


def _shape(key: str) -> str:
    """Return the shape of a key, `a9-a` for `p12-x`; empty for text with blanks."""
    key = key.strip().strip('"')
    return "" if re.search(r"\s", key) else re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", key))


def _separator_of(header: str, path: Path, required: Sequence[str]) -> str:
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    candidates = sorted(_SEPARATORS, key=lambda separator: separator != usual)
    counts = {}
    for separator in (*candidates, "|"):
        names = [cell.strip() for cell in next(csv.reader([header], delimiter=separator), [])]
        if required and set(required) <= set(names):
            return separator
        counts[separator] = len(names)
    return max(candidates, key=lambda separator: counts[separator])


def _decode(raw: bytes) -> tuple[str, str]:
    """Return the text, and the name of its encoding if it had to be guessed."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw[:4] == b"\0\0\xfe\xff":
        encoding = "utf-32" if raw[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") else "utf-16"
        try:
            return raw.decode(encoding), ""
        except UnicodeDecodeError:
            return raw.decode(encoding, errors="replace"), f"damaged {encoding.upper()}"
    head = raw.partition(b"\n")[0]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        # Latin text in UTF-16 has a zero in every second byte
        if any(head) and zeros.count(0) > len(zeros) // 2:
            return raw.decode(encoding, errors="replace"), "UTF-16"
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "Latin-1"
