"""A folder of DICOM studies and a table with their reports; series are recognised by their headers.

The table has one row for each study: `folder` (relative to the root; all series below it share the report), `report`,
and further columns as in a manifest. Localisers, other modalities and single images are set aside with the reason.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bimcvr.curation.archives.file_tree import files_below, is_inside
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.sources.dicom_metadata import TAGS, columns_of_header
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.sources.table_reader import read_table
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.manifest import split_list
from bimcvr.data.reading.dicom_series import is_dicom
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

REQUIRED = ("folder", "report")
_KNOWN = (*REQUIRED, "language", "patient_id", "report_id", "labels", "translation")
_SERIES = ("SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames")


class DicomFolder(SingleShardSource):
    """Reads DICOM studies.

    Args:
        root: the folder with a folder for each study.
        table: the CSV, TSV or .xlsx file with their reports.
        work: the folder in which series that share a folder get one each (hard links, or copies on another disk);
            `<root>-series` beside the root if empty.

    Raises:
        UserError: there is no such folder or table.
    """

    def __init__(self, root: str, table: str, work: str = "") -> None:
        self.root = Path(root)
        self.table = Path(table)
        self.work = Path(work) if work else self.root.with_name(self.root.name + "-series")
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give the folder that contains the studies' folders.")
        if not self.table.is_file():
            raise UserError(f"There is no table {self.table}. Give a CSV file with the columns {', '.join(REQUIRED)}.")

    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield each CT series of each study, in the order of the table."""
        table = read_table(self.table, REQUIRED)
        yield from table.set_aside
        seen: set[str] = set()
        for line, cells in table.rows:
            name, location = cells["folder"].strip().strip("/"), f"{self.table.name}: line {line}"
            folder = self.root / cells["folder"].strip()
            if not name or not is_inside(folder, self.root):
                yield SetAside(location, "outside_root", f"{location} names no folder below {self.root}.")
            elif name in seen:
                yield SetAside(location, "duplicate_row", f"{location}: the folder {name} already has a row. Keep one.")
            elif not folder.is_dir():
                yield SetAside(name, "missing_file", f"{location} names {folder}, which is not a folder. Correct it.")
            else:
                seen.add(name)
                yield from self._study(name, folder, cells)
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            relative = folder.relative_to(self.root).as_posix()
            if not any(name == relative or name.startswith(relative + "/") for name in seen):
                yield SetAside(relative, "no_row", f"{folder} has no row in {self.table.name}, so it has no report.")

    def _study(self, name: str, folder: Path, cells: dict[str, str]) -> Iterator[SourceStudy | SetAside]:
        files, set_aside = files_below(folder)
        yield from set_aside
        yield from unread_archives(files, ())
        series, unreadable = _series_of(files)
        yield from (
            SetAside(
                f"{name}: {file.relative_to(folder)}",
                "unreadable",
                f"{file} is no readable DICOM file. Download it again.",
            )
            for file in unreadable
        )
        if not series:
            yield SetAside(name, "no_dicom", f"{folder} contains no DICOM file.")
        labels = _labels_of(series)
        ct_series = 0
        for number, (header, members) in enumerate(series):
            label = labels[number]
            fault = _fault(header, members)
            if fault:
                yield SetAside(f"{name}: {label}", fault[0], f"{folder}, {label}: {fault[1]}")
                continue
            ct_series += 1
            study_id = name.replace("/", "_") + (f"_{label}" if len(series) > 1 else "")
            folder_files = [file for _, others in series for file in others if file.parent == members[0].parent]
            has_own_folder = sorted(folder_files) == sorted(members)
            volume = members[0].parent if has_own_folder else self._gather(f"{study_id}-{number + 1}", members)
            extra = {column: cell.strip() for column, cell in cells.items() if column not in _KNOWN and cell.strip()}
            yield SourceStudy(
                study_id=study_id,
                volume=volume,
                report=cells["report"].strip(),
                language=cells.get("language", "").strip(),
                patient_id=present(cells.get("patient_id", "")),
                report_id=present(cells.get("report_id", "")) or name,
                labels=tuple(sorted(split_list(present(cells.get("labels", ""))))),
                translation=cells.get("translation", "").strip(),
                columns=columns_of_header(header) | extra,
            )
        if series and not ct_series:
            yield SetAside(name, "no_ct_series", f"{folder} has no CT series, so its report has no volume.")

    def _gather(self, name: str, members: list[Path]) -> Path:
        """Give a series a folder of its own, which the reader of volumes needs."""
        target = self.work / name
        target.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(members):
            link = target / f"{number:05d}.dcm"
            if link.exists():
                continue
            try:
                os.link(file.resolve(), link)
            except OSError:
                shutil.copyfile(file, link)
        return target


def _series_of(files: list[Path]) -> tuple[list[tuple[Any, list[Path]]], list[Path]]:
    """Group files by series, in the order of series numbers; the second list has files that are no DICOM after all."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    groups: dict[tuple[str, str, str], list[tuple[Any, Path]]] = defaultdict(list)
    unreadable = []
    for file in files:
        named_dicom = file.suffix.lower() in (".dcm", ".ima")
        if file.name.upper() == "DICOMDIR" or not (named_dicom or is_dicom(file)):
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
    """Name each series by its number, or by its position where the number is missing or not unique."""
    numbers = [str(header.get("SeriesNumber") or "") for header, _ in series]
    return [
        f"series-{number}" if number and numbers.count(number) == 1 else f"series-{position}x"
        for position, number in enumerate(numbers, 1)
    ]


def _is_localizer(header: Any) -> bool:
    return "LOCALIZER" in [str(word).upper() for word in header.get("ImageType") or []]


def _fault(header: Any, members: list[Path]) -> tuple[str, str] | None:
    if _is_localizer(header):
        return "localizer", "is a localiser (scout), not a volume."
    if header.get("Modality") != "CT":
        return "not_ct", f"is of modality {header.get('Modality') or 'unknown'}, not CT."
    if len(members) < 2 and int(header.get("NumberOfFrames") or 1) < 2:
        return "not_a_volume", "is a single image."
    return None
