"""A folder of DICOM studies and a table that gives each its report; the series are found by their headers.

The table has one row a study: `folder` (relative to the root; all series below it share the report) and `report`;
further columns as in a manifest. Localisers, other modalities and single images are set aside with the reason.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bimcvr.curation.archives.file_tree import files_below, is_inside
from bimcvr.curation.sources.base import Unsharded
from bimcvr.curation.sources.csv_tables import read_table
from bimcvr.curation.sources.dicom_metadata import TAGS, columns_of_header
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.manifest import split_list
from bimcvr.data.reading.dicom_series import is_dicom
from bimcvr.errors import UserError

REQUIRED = ("folder", "report")
_KNOWN = (*REQUIRED, "language", "patient_id", "report_id", "labels", "translation")
_SERIES = ("SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames")


class DicomFolder(Unsharded):
    """Reads DICOM studies.

    Args:
        root: the folder with one folder a study.
        table: the CSV or TSV file with their reports.
        work: where series that share a folder are given one each (by hard links, or copies on another disk); `series`
            beside the root if empty.
    """

    def __init__(self, root: str, table: str, work: str = "") -> None:
        self.root = Path(root)
        self.table = Path(table)
        self.work = Path(work) if work else self.root.with_name(self.root.name + "-series")
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give the folder in which the studies' folders lie.")
        if not self.table.is_file():
            raise UserError(f"There is no table {self.table}. Give a CSV file with the columns {', '.join(REQUIRED)}.")

    def _read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield each CT series of each study, in the table's order."""
        table = read_table(self.table, REQUIRED)
        yield from table.aside
        seen: set[str] = set()
        for line, cells in table.rows:
            name, here = cells["folder"].strip().strip("/"), f"{self.table.name}: line {line}"
            folder = self.root / cells["folder"].strip()
            if not name or not is_inside(folder, self.root):
                yield SetAside(here, "outside_root", f"{here} names no folder below {self.root}.")
            elif name in seen:
                yield SetAside(here, "duplicate_row", f"{here}: the folder {name} has a row already. Keep one.")
            elif not folder.is_dir():
                yield SetAside(name, "missing_file", f"{here} names {folder}, which is no folder. Correct it.")
            else:
                seen.add(name)
                yield from self._study(name, folder, cells)
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            own = folder.relative_to(self.root).as_posix()
            if not any(name == own or name.startswith(own + "/") for name in seen):
                yield SetAside(own, "no_row", f"{folder} has no row in {self.table.name}, so no report.")

    def _study(self, name: str, folder: Path, cells: dict[str, str]) -> Iterator[SourceStudy | SetAside]:
        files, aside = files_below(folder)
        yield from aside
        series, unreadable = _series_of(files)
        yield from (
            SetAside(
                f"{name}: {file.relative_to(folder)}", "unreadable", f"{file} is no readable DICOM. Fetch it again."
            )
            for file in unreadable
        )
        if not series:
            yield SetAside(name, "no_dicom", f"{folder} holds no DICOM file.")
        labels = _labels_of(series)
        sound = 0
        for number, (header, members) in enumerate(series):
            label = labels[number]
            fault = _fault(header, members)
            if fault:
                yield SetAside(f"{name}: {label}", fault[0], f"{folder}, {label}: {fault[1]}")
                continue
            sound += 1
            study_id = name.replace("/", "_") + (f"_{label}" if len(series) > 1 else "")
            neighbours = [file for _, others in series for file in others if file.parent == members[0].parent]
            alone = sorted(neighbours) == sorted(members)
            volume = members[0].parent if alone else self._gather(f"{study_id}-{number + 1}", members)
            extra = {column: cell.strip() for column, cell in cells.items() if column not in _KNOWN and cell.strip()}
            yield SourceStudy(
                study_id=study_id,
                volume=volume,
                report=cells["report"].strip(),
                language=cells.get("language", "").strip(),
                patient_id=cells.get("patient_id", "").strip(),
                report_id=cells.get("report_id", "").strip() or name,
                labels=tuple(sorted(split_list(cells.get("labels", "")))),
                translation=cells.get("translation", "").strip(),
                columns=columns_of_header(header) | extra,
            )
        if series and not sound:
            yield SetAside(name, "no_ct_series", f"{folder} has no CT series, so its report has no volume.")

    def _gather(self, name: str, members: list[Path]) -> Path:
        """Give a series a folder of its own, as the reader of volumes wants it."""
        target = self.work / name
        target.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(members):
            place = target / f"{number:05d}.dcm"
            if place.exists():
                continue
            try:
                os.link(file.resolve(), place)
            except OSError:
                shutil.copyfile(file, place)
        return target


def _series_of(files: list[Path]) -> tuple[list[tuple[Any, list[Path]]], list[Path]]:
    """Group files by series, in the order of series numbers; the second list is what claims to be DICOM and is not."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    groups: dict[tuple[str, str, str], list[tuple[Any, Path]]] = defaultdict(list)
    unreadable = []
    for file in files:
        claims = file.suffix.lower() in (".dcm", ".ima")
        if file.name.upper() == "DICOMDIR" or not (claims or is_dicom(file)):
            continue
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[*_SERIES, *TAGS])
        except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, AttributeError):
            unreadable.append(file)
            continue
        kind = "localizer" if _is_localizer(header) else str(header.get("Modality", ""))
        size = f"{header.get('Rows')}x{header.get('Columns')}"
        groups[str(header.get("SeriesInstanceUID", "")), kind, size].append((header, file))
    series = [(members[0][0], [file for _, file in members]) for members in groups.values()]
    return sorted(series, key=lambda item: (int(item[0].get("SeriesNumber") or 0), str(item[1][0]))), unreadable


def _labels_of(series: list[tuple[Any, list[Path]]]) -> list[str]:
    """Name each series by its number, or by its place where the number is absent or not its own."""
    numbers = [str(header.get("SeriesNumber") or "") for header, _ in series]
    return [
        f"series-{number}" if number and numbers.count(number) == 1 else f"series-{place}x"
        for place, number in enumerate(numbers, 1)
    ]


def _is_localizer(header: Any) -> bool:
    return "LOCALIZER" in [str(word).upper() for word in header.get("ImageType") or []]


def _fault(header: Any, members: list[Path]) -> tuple[str, str] | None:
    if _is_localizer(header):
        return "localizer", "is a localiser (scout), no volume."
    if header.get("Modality") != "CT":
        return "not_ct", f"is of modality {header.get('Modality') or 'unknown'}, not CT."
    if len(members) < 2 and int(header.get("NumberOfFrames") or 1) < 2:
        return "not_a_volume", "is a single image."
    return None
