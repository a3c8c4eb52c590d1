"""CT-RATE: `train/train_1/train_1_a/train_1_a_1.nii.gz`, and CSV files keyed by `VolumeName`.

A scan (`train_1_a`) has one report and one volume for each reconstruction (`…_1`, `…_2`). The NIfTI files of the first
release have no spacing, orientation or rescale: those are only in the metadata table. The second release, below
`train_fixed` and `valid_fixed`, has them in the files, in HU; the table's RescaleSlope and RescaleIntercept belong to
the DICOM slices that the first was made of, and would spoil these values (github.com/ibrahimethemhamamci/CT-CLIP, issue
50). No value is rescaled by the table here. Its statements become columns of the manifest (`stated_spacing`,
`rescale_slope` …; no rescale for a volume of the second release), and `header_spacing` says whether the file's spacing
`agrees`, `differs` or is `blank`. Nothing is repaired here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bimcvr.curation.archives.file_tree import files_below, is_volume, stem_of
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.sources.dicom_metadata import columns_of
from bimcvr.curation.sources.published_lists import CT_RATE_BROKEN, Listing, left_out, listed_columns, read_list
from bimcvr.curation.sources.radgenome import Regions, read_regions
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.sources.table_reader import SourceTable, read_table, rows_by_key
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.plain_names import plainly_named
from bimcvr.errors import UserError

KEY, SECTIONS = "VolumeName", ("Findings_EN", "Impressions_EN")
_SPLITS = {"train": "train", "valid": "val"}
_NAME = re.compile(r"((train|valid)_\d+)_([a-z]+)_(\d+)")
# what the tables write for a section that was not dictated
_NOT_GIVEN = ("", "not given.", "nan")
_NO_CHEST = "no_chest_{}.txt"


class CtRate(SingleShardSource):
    """Reads CT-RATE.

    Args:
        root: the folder with `train` and `valid` and, anywhere below, the CSV files of reports, labels and metadata,
            which are recognised by their columns, and CT-RATE's lists `no_chest_train.txt` and `no_chest_valid.txt`.
            Where a volume is in both releases, the one below `train_fixed` or `valid_fixed` (the second) is used.
        regions: RadGenome-ChestCT's folder, if its sentences by region of the body are wanted beside the reports; it
            must not lie in `root`, since its preprocessed volumes have CT-RATE's names.
        keep_listed: take in what CT-RATE's lists of scans of other body parts, and RadFinder's list of broken volumes,
            name; the manifest's column `listed` then says so. A published count of 3,039 validation volumes needs it.

    Attributes:
        passed_over: the number of volumes of the first release that have a second; filled while reading.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, root: str, regions: str = "", keep_listed: bool = False) -> None:
        self.root = Path(root)
        self.regions = Path(regions) if regions else None
        self.keep_listed = keep_listed
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
        yield from (item for table in tables for item in table.set_aside)
        reports, set_aside = _by_volume(table for table in tables if SECTIONS[0] in table.columns)
        labels, more = _by_volume(table for table in tables if _is_labels(table))
        metadata, most = _by_volume(table for table in tables if "ZSpacing" in table.columns)
        yield from [*set_aside, *more, *most]
        if not reports:
            raise UserError(
                f"{self.root} has no table of reports (a CSV file with {KEY} and {', '.join(SECTIONS)}). Add it."
            )
        listed, set_aside = self._lists(files)
        yield from set_aside
        regions, set_aside = read_regions(self.regions) if self.regions else ({}, [])
        yield from set_aside
        fixed = {file.name for file in files if _is_fixed(file)}
        seen: dict[str, Path] = {}
        for file in files:
            name, stem = file.name, stem_of(file.name)
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
                if stem in listed and not self.keep_listed:
                    yield left_out(file, listed[stem])
                    continue
                columns = _columns(file, metadata.get(name, {})) | listed_columns(stem, listed)
                yield _study(file, reports[name], labels.get(name, {}), columns, regions.get(stem, ()))
        for name in sorted(reports.keys() - seen.keys()):
            if stem_of(name) not in listed or self.keep_listed:
                yield SetAside(name, "missing_file", f"{name} has a report, but its volume is not below {self.root}.")
        for stem in sorted(regions.keys() - {stem_of(name) for name in reports}):
            yield SetAside(
                stem, "unknown_volume", f"{self.regions}: the sentences of {stem} belong to no report of {self.root}."
            )

    def _lists(self, files: list[Path]) -> tuple[dict[str, Listing], list[SetAside]]:
        """Read what lists say about the volumes; a split with volumes but without CT-RATE's own list is set aside."""
        listed, set_aside = dict(CT_RATE_BROKEN), []
        matches = [_NAME.fullmatch(stem_of(file.name)) for file in files if is_volume(file.name)]
        for split in sorted({match[2] for match in matches if match}):
            name = _NO_CHEST.format(split)
            lists = [file for file in files if file.name == name]
            for file in lists:
                listing = Listing("listed_no_chest", f"CT-RATE's list {file}", "it is no scan of the chest")
                names, unread = read_list(file, _NAME, listing)
                listed |= names
                set_aside += unread
            if not lists:
                message = (
                    f"{self.root} has no {name} (CT-RATE's dataset/metadata), so scans of the head are not left out by"
                    " it. Download it."
                )
                set_aside.append(SetAside(name, "missing_list", message))
        return listed, set_aside


def _columns(file: Path, metadata: dict[str, str]) -> dict[str, str]:
    """Return the further columns of the manifest that the metadata table, the file's name and its place say."""
    columns = columns_of(metadata)
    spacing = _stated_spacing(metadata)
    if spacing:
        columns["stated_spacing"] = "/".join(f"{mm:g}" for mm in spacing)
        columns["header_spacing"] = _compare_spacing(file, spacing)
    if _is_fixed(file):
        columns["release"] = "fixed"
        for name in ("rescale_slope", "rescale_intercept"):
            columns.pop(name, None)
    match = _NAME.fullmatch(stem_of(file.name))
    return columns | ({"archive_split": _SPLITS[match[2]]} if match else {})


def _study(
    file: Path, report: dict[str, str], labels: dict[str, str], columns: dict[str, str], regions: Regions
) -> SourceStudy:
    name = stem_of(file.name)
    match = _NAME.fullmatch(name)
    sections = [report.get(section, "").strip() for section in SECTIONS]
    return SourceStudy(
        study_id=name,
        volume=file,
        report="\n".join(text for text in sections if text.lower() not in _NOT_GIVEN),
        language="en",
        patient_id=match[1] if match else "",
        report_id=f"{match[1]}_{match[3]}" if match else "",
        labels=tuple(label.lower() for label, value in labels.items() if value.strip() in ("1", "1.0")),
        columns=columns,
        regions=regions,
    )


def _is_fixed(file: Path) -> bool:
    return any(part in ("train_fixed", "valid_fixed") for part in file.parts)


def _by_volume(tables: Iterable[SourceTable]) -> tuple[dict[str, dict[str, str]], list[SetAside]]:
    return rows_by_key((table for table in tables if KEY in table.columns), KEY)


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
