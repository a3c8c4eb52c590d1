"""The logs of curation: for each step a CSV file of what it changed, without any text of the reports."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from bimcvr.atomic_files import write_text
from bimcvr.data.reading.refused import escaped
from bimcvr.data.spreadsheet_cells import escape_cell


class StepLog:
    """What one step changed. Each run writes it anew, so the same rows give the same file.

    Args:
        step: the name of the step.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        self._lines: list[tuple[str, str, str]] = []

    def add(self, study_id: str, what: str, detail: str = "") -> None:
        """Record a change to a study.

        Args:
            study_id: the study.
            what: what was changed or found: a flag, a label source, a decision.
            detail: numbers, names and ids only, never report text.
        """
        self._lines.append((study_id, what, detail))

    def write(self, folder: Path) -> None:
        """Write `<step>.csv` into a folder."""
        write_csv(folder / f"{self.step}.csv", ("study_id", "what", "detail"), self._lines)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table that is safe to open in a spreadsheet; a file that already has this content is not touched."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([escape_cell(cell) for cell in row] for row in rows)
    # file names in archives may be in no valid encoding
    write_changed(path, escaped(stream.getvalue()))


def write_changed(path: Path, text: str) -> None:
    """Write a file unless it already has this content."""
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        write_text(path, text)
