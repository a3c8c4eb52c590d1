"""CT-RATE: `train/train_1/train_1_a/train_1_a_1.nii.gz`, and CSV files keyed by `VolumeName`.

A scan (`train_1_a`) has one report and one volume for each reconstruction (`…_1`, `…_2`). The NIfTI files of the first
release have no spacing, orientation or rescale: those are only in the metadata table. The second release has them in
the files, and then the table's rescale must not be applied again. The table's values therefore become columns
(`stated_spacing`, `rescale_slope`, …), and `header_spacing` says whether the file's spacing `agrees`, `differs` or is
`blank`. Nothing is repaired here.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bimcvr.curation.archives.file_tree import files_below, is_volume, stem_of
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.sources.dicom_metadata import columns_of
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.sources.table_reader import SourceTable, read_table
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.plain_names import plainly_named
from bimcvr.errors import UserError

KEY, SECTIONS = "VolumeName", ("Findings_EN", "Impressions_EN")
_SPLITS = {"train": "train", "valid": "val"}
_NAME = re.compile(r"((train|valid)_\d+)_([a-z]+)_(\d+)")
# what the tables write for a section that was not dictated
_NOT_GIVEN = ("", "not given.", "nan")


class CtRate(SingleShardSource):
    """Reads CT-RATE.

    Args:
        root: the folder with `train` and `valid` and, anywhere below, the CSV files of reports, labels and metadata,
            which are recognised by their columns. Where a volume is in both releases, the one below `train_fixed` or
            `valid_fixed` (the second) is used.

    Attributes:
        passed_over: the number of volumes of the first release that have a second; filled while reading.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.passed_over: Counter[str] = Counter()
        if not self.root.is_dir():
            raise UserError(
                f"There is no folder {self.root}. Give CT-RATE's folder, the one with `train` and `valid` in it."
            )

    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the volumes on disk in the order of their paths, then the reports without a volume."""
        files, set_aside = files_below(self.root)
        yield from set_aside
        yield from unread_archives(files, ())
        tables = [read_table(file) for file in files if file.suffix == ".csv"]
        reports = _by_volume(table for table in tables if SECTIONS[0] in table.columns)
        labels = _by_volume(table for table in tables if _is_labels(table))
        metadata = _by_volume(table for table in tables if "ZSpacing" in table.columns)
        yield from (item for table in tables for item in table.set_aside)
        if not reports:
            raise UserError(
                f"{self.root} has no table of reports (a CSV file with {KEY} and {', '.join(SECTIONS)}). Add it."
            )
        fixed = {file.name for file in files if _is_fixed(file)}
        seen: dict[str, Path] = {}
        for file in files:
            name = file.name
            if not is_volume(name):
                continue
            if name in fixed and not _is_fixed(file):
                self.passed_over["superseded"] += 1
            elif name in seen:
                yield SetAside(
                    str(file.relative_to(self.root)),
                    "ambiguous_name",
                    f"{file} has the same name as {seen[name]}. Remove one.",
                )
            elif name not in reports:
                yield SetAside(name, "no_row", f"{file} has no row in the table of reports, so it has no report.")
            else:
                seen[name] = file
                yield _study(file, reports[name], labels.get(name, {}), metadata.get(name, {}))
        for name in sorted(reports.keys() - seen.keys()):
            yield SetAside(name, "missing_file", f"{name} has a report, but its volume is not below {self.root}.")


def _study(file: Path, report: dict[str, str], labels: dict[str, str], metadata: dict[str, str]) -> SourceStudy:
    name = stem_of(file.name)
    match = _NAME.fullmatch(name)
    sections = [report.get(section, "").strip() for section in SECTIONS]
    columns = columns_of(metadata)
    spacing = _stated_spacing(metadata)
    if spacing:
        columns["stated_spacing"] = "/".join(f"{mm:g}" for mm in spacing)
        columns["header_spacing"] = _compare_spacing(file, spacing)
    if match:
        columns["archive_split"] = _SPLITS[match[2]]
    return SourceStudy(
        study_id=name,
        volume=file,
        report="\n".join(text for text in sections if text.lower() not in _NOT_GIVEN),
        language="en",
        patient_id=match[1] if match else "",
        report_id=f"{match[1]}_{match[3]}" if match else "",
        labels=tuple(label.lower() for label, value in labels.items() if value.strip() in ("1", "1.0")),
        columns=columns,
    )


def _is_fixed(file: Path) -> bool:
    return any(part in ("train_fixed", "valid_fixed") for part in file.parts)


def _by_volume(tables: Iterator[SourceTable]) -> dict[str, dict[str, str]]:
    return {
        cells[KEY].strip(): {name: cell for name, cell in cells.items() if name != KEY}
        for table in tables
        for _, cells in table.rows
        if KEY in table.columns
    }


def _is_labels(table: SourceTable) -> bool:
    """Return whether a table has a column of 0 and 1 for each disease."""
    others = [name for name in table.columns if name != KEY]
    first_rows = [cells for _, cells in table.rows[:5]]
    return (
        KEY in table.columns
        and len(others) > 1
        and bool(first_rows)
        and all(row[name].strip() in ("0", "1", "0.0", "1.0") for row in first_rows for name in others)
    )


def _stated_spacing(metadata: dict[str, str]) -> tuple[float, ...]:
    """Return the spacing in the metadata table, in mm along x, y and z; empty if it has none."""
    numbers = re.findall(
        r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", metadata.get("XYSpacing", "") + " " + metadata.get("ZSpacing", "")
    )
    return tuple(float(number) for number in numbers) if len(numbers) == 3 else ()


def _compare_spacing(file: Path, stated: tuple[float, ...]) -> str:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    with plainly_named(file) as readable:
        reader.SetFileName(str(readable))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return "unreadable"
    spacing = reader.GetSpacing()[:3]
    if np.allclose(spacing, stated, rtol=0.01):
        return "agrees"
    return "blank" if np.allclose(spacing, 1) else "differs"
