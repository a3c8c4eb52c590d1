"""Pairs a folder of volumes with a table of reports, by ids in paths; nothing is guessed where two would fit."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.sources.table_reader import SourceTable
from bimcvr.curation.study import SetAside
from bimcvr.data.manifest import REQUIRED
from bimcvr.data.reading.dicom_series import is_dicom
from bimcvr.data.reading.file_checks import SUFFIXES
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

ID_COLUMNS = ("study_id", "volume", "volume_name", "volumename", "filename", "file", "accession", "id")
REPORT_COLUMNS = ("report", "report_text", "text", "findings")
"""Names of columns that are looked for where none is given, the first that the table has."""


@dataclass(frozen=True)
class Pairs:
    """What was paired, and what was not.

    Attributes:
        rows: one row of a manifest for each volume, cell by column; `volume` is relative to the manifest's folder.
        unmatched: volumes without a report, reports without a volume, and rows that could not be read, with reasons.
    """

    rows: list[dict[str, str]]
    unmatched: list[SetAside]


def volumes_below(folder: Path) -> list[Path]:
    """Return the volumes below a folder, sorted: image files, and folders with DICOM slices.

    Raises:
        UserError: there is no such folder, or no volume in it.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give the folder that holds the volumes.")
    found: list[Path] = []
    for name, folders, files in os.walk(folder):
        folders.sort()
        place = Path(name)
        images = [place / file for file in files if file.lower().endswith(SUFFIXES)]
        slices = (place / file for file in sorted(files) if file.lower().endswith((".dcm", ".ima")) or "." not in file)
        found += images
        if not images and any(is_dicom(file) for file in slices):
            found.append(place)
    if not found:
        raise UserError(
            f"{folder} holds no volume: files that end in {', '.join(SUFFIXES)}, or folders of DICOM slices."
        )
    return sorted(found)


def choose_column(table: SourceTable, wanted: str, known: Sequence[str], option: str) -> str:
    """Return the name of a column: the wanted one, or the first known one that the table has.

    Args:
        table: the table.
        wanted: the name that the user gave; empty for none.
        known: usual names in lower case.
        option: the option by which the user names it.

    Raises:
        UserError: the table has no such column.
    """
    by_name = {name.lower(): name for name in reversed(table.columns)}
    for name in [wanted.lower()] if wanted else known:
        if name in by_name:
            return by_name[name]
    asked = f"no column '{wanted}'" if wanted else f"none of the columns {', '.join(known)}"
    raise UserError(f"{table.path} has {asked}; it has {', '.join(table.columns)}. Name one by {option}.")


def pair(
    folder: Path, table: SourceTable, id_column: str, report_columns: Sequence[str], pattern: str, target: Path
) -> Pairs:
    """Pair the volumes below a folder with the rows of a table.

    Args:
        folder: of the volumes.
        table: of the reports.
        id_column: its column of ids; endings of image files in it do not count.
        report_columns: the columns that make the report, joined by line ends.
        pattern: a regular expression whose first group, searched in a volume's path below the folder, is its id; where
            it is empty, the id is the file's name without its ending, or else the nearest folder that names an id.
        target: the folder of the manifest, which the paths will be relative to.

    Raises:
        UserError: the pattern is no regular expression with a group.
    """
    wanted = _compiled(pattern)
    rows, unmatched = _rows_by_id(table, id_column)
    found: dict[str, list[Path]] = defaultdict(list)
    for volume in volumes_below(folder):
        name = volume.relative_to(folder).as_posix()
        key = _key_of(name, rows, wanted)
        if key is None:
            unmatched.append(SetAside(name, "no_report", "no row of the table has the id of this volume"))
        else:
            found[key].append(volume)
    pairs = []
    for key, cells in rows.items():
        report = "\n".join(filter(None, (present(cells[column]) for column in report_columns)))
        if not found[key]:
            unmatched.append(SetAside(key, "no_volume", "no volume in the folder has the id of this report"))
        elif not report:
            unmatched.append(SetAside(key, "empty_report", "the report of this volume is empty"))
        else:
            pairs += list(_manifest_rows(key, cells, report, found[key], folder, target))
    return Pairs(pairs, unmatched)


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        wanted = re.compile(pattern) if pattern else None
    except re.error as error:
        raise UserError(f"--pattern {pattern} is no regular expression: {error}.") from error
    if wanted is not None and wanted.groups < 1:
        raise UserError(f"--pattern {pattern} has no group: put the id into brackets, as in '(LIDC-IDRI-[0-9]+)'.")
    return wanted


def _rows_by_id(table: SourceTable, id_column: str) -> tuple[dict[str, dict[str, str]], list[SetAside]]:
    """Return the rows by their id; rows that share an id are set aside, for none is surely the right one."""
    unmatched = list(table.set_aside)
    rows: dict[str, dict[str, str]] = {}
    lines: dict[str, list[int]] = defaultdict(list)
    for line, cells in table.rows:
        key = _without_ending(present(cells[id_column]))
        if not key:
            unmatched.append(SetAside(f"{table.path.name}: line {line}", "no_id", f"its {id_column} is empty"))
            continue
        lines[key].append(line)
        rows[key] = cells
    for key, several in lines.items():
        if len(several) > 1:
            del rows[key]
            where = ", ".join(map(str, several))
            unmatched.append(SetAside(key, "duplicate_id", f"lines {where} of the table have the same id"))
    return rows, unmatched


def _key_of(name: str, rows: dict[str, dict[str, str]], pattern: re.Pattern[str] | None) -> str | None:
    if pattern is not None:
        match = pattern.search(name)
        candidates = [match.group(1) or ""] if match else []
    else:
        *folders, last = name.split("/")
        candidates = [_without_ending(name), _without_ending(last), *reversed(folders)]
    return next((candidate for candidate in candidates if candidate in rows), None)


def _without_ending(name: str) -> str:
    ending = next((one for one in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)]


def _manifest_rows(
    key: str, cells: dict[str, str], report: str, volumes: list[Path], folder: Path, target: Path
) -> Iterator[dict[str, str]]:
    """Yield the rows of the volumes of one report, which share its `report_id` where they are several."""
    further = {name: cell.strip() for name, cell in cells.items() if name not in (*REQUIRED, "report_id")}
    for volume in volumes:
        several = {}
        study = key
        if len(volumes) > 1:
            study = f"{key}_{_without_ending(volume.relative_to(folder).as_posix()).replace('/', '_')}"
            several = {"report_id": key}
        path = Path(os.path.relpath(volume.resolve(), target.resolve())).as_posix()
        yield {"study_id": study, "volume": path, "report": report, **several, **further}
