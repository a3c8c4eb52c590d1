"""The logs of curation: for each step one CSV file of what it changed, without a word of any report."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from bimcvr.atomic_files import write_text

# a spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class StepLog:
    """What one step changed; written anew by each run, so that the same rows give the same file.

    Args:
        step: its name.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        self._lines: list[tuple[str, str, str]] = []

    def add(self, study_id: str, what: str, detail: str = "") -> None:
        """Note a change to a study: names, numbers and ids only."""
        self._lines.append((study_id, what, detail))

    def write(self, folder: Path) -> None:
        """Write `<step>.csv`."""
        write_csv(folder / f"{self.step}.csv", ("study_id", "what", "detail"), self._lines)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table that is safe to open in a spreadsheet; a file that has this content already is left alone."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows)
    # names in archives may be in no encoding at all
    write_changed(path, stream.getvalue().encode("utf-8", "backslashreplace").decode())


def write_changed(path: Path, text: str) -> None:
    """Write a file, unless it has this content already."""
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        write_text(path, text)
