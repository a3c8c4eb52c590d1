"""A review queue's file as it is on disk: its bytes, its rows, and how its cells are written.

Spreadsheets write it too, in the separators and line ends of their own. A change touches the bytes of its own row only,
and is written only onto the bytes that were read.
"""

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bimcvr.atomic_files import force_to_disk, replacing
from bimcvr.data.spreadsheet_cells import escape_cell, unescape_cell
from bimcvr.errors import UserError

COLUMNS = ("study_id", "reason", "report", "decision", "corrected", "labels", "reviewer", "original")
# queues of before have no such column
_OPTIONAL = ("original",)
_MARK = b"\xef\xbb\xbf"  # a byte-order mark, so that spreadsheets show accents


class SavedMeanwhile(UserError):
    """Another program has saved the file since it was read; nothing was written."""


@dataclass(frozen=True)
class QueueRow:
    """A row of the file.

    Attributes:
        lines: of the text that it takes: the first, and one past the last, counted from 0.
        cells: by column, as text.
    """

    lines: tuple[int, int]
    cells: dict[str, str]

    @property
    def line(self) -> int:
        """The line on which the row begins, counted from 1."""
        return self.lines[0] + 1


@dataclass(frozen=True)
class QueueFile:
    """The file.

    Attributes:
        content: its bytes; empty if there is no file.
        header: the columns, perhaps with more than `COLUMNS`.
        delimiter: between cells.
        newline: of its lines.
        lines: its text line by line, with their ends and without the byte-order mark.
        rows: those that are not empty.
    """

    content: bytes
    header: list[str]
    delimiter: str
    newline: str
    lines: list[str]
    rows: list[QueueRow]

    @classmethod
    def read(cls, path: Path) -> "QueueFile":
        """Read a file; one that does not exist is an empty queue.

        Args:
            path: the queue.

        Raises:
            UserError: it is no review queue; the message names file and line.
        """
        if not path.exists():
            return cls(b"", list(COLUMNS), ",", "\n", [], [])
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 ({error.reason} at byte {error.start}). In a spreadsheet save it as 'CSV UTF-8'."
            ) from error
        lines = list(io.StringIO(text, newline=""))
        first = lines[0] if lines else ""
        delimiter = max(",;\t", key=first.count)  # spreadsheets use the separator of their language
        header, rows = _parsed(path, lines, delimiter)
        return cls(content, header, delimiter, "\r\n" if first.endswith("\r\n") else "\n", lines, rows)

    def with_rows(self, rows: Iterable[Mapping[str, str]]) -> bytes:
        """Return the file's bytes with rows appended.

        Args:
            rows: their cells; columns that are not named are empty.
        """
        ended = not self.content or self.content.endswith((b"\n", b"\r"))
        start = self.content + (b"" if ended else self.newline.encode())
        if not self.content:
            start = _MARK + (self.delimiter.join(self.header) + self.newline).encode()
        return start + "".join(self._text(row) + self.newline for row in rows).encode()

    def with_cells(self, row: QueueRow, cells: Mapping[str, str]) -> bytes:
        """Return the file's bytes with some cells of a row replaced; all other rows stay byte for byte.

        Args:
            row: one of `rows`.
            cells: the new texts.
        """
        first, end = row.lines
        last = self.lines[end - 1]
        line_end = last[len(last.rstrip("\r\n")) :]
        lines = [*self.lines[:first], self._text(row.cells | dict(cells)) + line_end, *self.lines[end:]]
        return (_MARK if self.content.startswith(_MARK) else b"") + "".join(lines).encode()

    def replace(self, path: Path, content: bytes) -> None:
        """Write new bytes over those that were read: under a temporary name, onto the disk, then by renaming.

        Args:
            path: the queue.
            content: the new bytes.

        Raises:
            SavedMeanwhile: the file no longer has the bytes that were read.
        """
        with replacing(path) as temporary:
            temporary.write_bytes(content)
            force_to_disk(temporary)
            if (path.read_bytes() if path.exists() else b"") != self.content:
                raise SavedMeanwhile(
                    f"{path} was saved by another program at this moment; nothing was written. Run the command again."
                )
        with suppress(OSError):  # some network file systems refuse it for a folder
            force_to_disk(path.parent)

    def _text(self, row: Mapping[str, str]) -> str:
        stream = io.StringIO(newline="")
        # quote every cell: by default the writer leaves a lone carriage return unquoted
        writer = csv.writer(stream, delimiter=self.delimiter, lineterminator="", quoting=csv.QUOTE_ALL)
        writer.writerow([escape_cell(row.get(name, "")) for name in self.header])
        return stream.getvalue()


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Let the writers of a queue that belong to this package, `curate` and the review page, wait for each other.

    A spreadsheet does not: what it saves in between is noticed by `QueueFile.replace`.

    Args:
        path: the queue. Its folder is what is locked, so that no lock file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _parsed(path: Path, lines: list[str], delimiter: str) -> tuple[list[str], list[QueueRow]]:
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    header, rows, begin = list(COLUMNS), list[QueueRow](), 0
    try:
        for cells in reader:
            if begin == 0:
                header = [name.strip() for name in cells]
                missing = [name for name in COLUMNS if name not in (*header, *_OPTIONAL)]
                if missing:
                    raise UserError(
                        f"{path} has no column {', '.join(missing)}. A review queue has {', '.join(COLUMNS)}."
                    )
            elif any(cell.strip() for cell in cells):
                if len(cells) > len(header):
                    raise UserError(
                        f"{path}, line {begin + 1}: the row has {len(cells)} cells, the header {len(header)}. Is a"
                        " separator or a quotation mark within a cell not quoted?"
                    )
                texts = map(unescape_cell, [*cells, *[""] * (len(header) - len(cells))])
                rows.append(QueueRow((begin, reader.line_num), dict(zip(header, texts, strict=True))))
            begin = reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}, line {begin + 1}: the row cannot be read: {error}.") from error
    return header, rows
