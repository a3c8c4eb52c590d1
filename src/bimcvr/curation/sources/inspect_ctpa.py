"""INSPECT: `CTPA/PE….nii.gz`, and tables of one release, `impressions_20250611.tsv`, `study_mapping_….tsv` ….

A report is an impression only, keyed by `impression_id`; `study_mapping` has the image and the patient of each, and
`splits` its split. The date in a table's name is its version: the newest is read. RadFinder's loader names 20 scans
that have four axes or no orientation; they are left out by name.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from bimcvr.curation.archives.file_tree import files_below, volumes_by_name
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.sources.published_lists import INSPECT_BROKEN, left_out, listed_columns
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.sources.table_reader import SourceTable, read_table, rows_by_key
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

_KEY, _IMAGE = "impression_id", "image_id"
_COLUMNS = {
    "impressions": (_KEY, "impressions"),
    "study_mapping": (_KEY, _IMAGE, "person_id"),
    "splits": (_KEY, "split"),
}
_REQUIRED = ("impressions", "study_mapping")
_VERSION = re.compile(r"(impressions|study_mapping|splits)_(\d{8})\.tsv")
_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_HEADING = re.compile(r"\s*IMPRESSIONS?\s*:\s*", re.IGNORECASE)


class Inspect(SingleShardSource):
    """Reads INSPECT.

    Args:
        root: the folder with `CTPA` and, anywhere below, the tables.
        keep_listed: take in the scans that RadFinder's list names as broken; the manifest's column `listed` then says
            so, and the reader judges them.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, root: str, keep_listed: bool = False) -> None:
        self.root = Path(root)
        self.keep_listed = keep_listed
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give INSPECT's folder, the one with `CTPA` in it.")

    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies in the order of the mapping, then the volumes that it does not name."""
        files, set_aside = files_below(self.root)
        yield from set_aside
        yield from unread_archives(files, ())
        tables, set_aside = _newest(files)
        yield from set_aside
        missing = [name for name in _REQUIRED if name not in tables]
        if missing:
            names = ", ".join(f"{name}_DATE.tsv" for name in missing)
            raise UserError(f"{self.root} has no table {names}. Download it from INSPECT's page at Stanford AIMI.")
        yield from (item for table in tables.values() for item in table.set_aside)
        impressions, set_aside = rows_by_key([tables["impressions"]], _KEY)
        splits, more = rows_by_key([tables["splits"]] if "splits" in tables else [], _KEY)
        # an impression can have several images, an image only one impression
        images, most = rows_by_key([tables["study_mapping"]], _IMAGE)
        yield from [*set_aside, *more, *most]
        volumes, set_aside = volumes_by_name(files, self.root)
        yield from set_aside
        for image, cells in images.items():
            key = present(cells[_KEY])
            if image not in volumes:
                message = f"{image} is in {tables['study_mapping'].path.name}, but not below {self.root}. Download it."
                yield SetAside(image, "missing_file", message)
            elif image in INSPECT_BROKEN and not self.keep_listed:
                yield left_out(volumes[image], INSPECT_BROKEN[image])
            elif key not in impressions:
                message = f"{volumes[image]} has no impression in {tables['impressions'].path.name}."
                yield SetAside(image, "no_row", message)
            elif not (report := _without_heading(present(impressions[key]["impressions"]))):
                message = f"{tables['impressions'].path.name}: {_KEY} {key}, of {image}, has no text."
                yield SetAside(image, "no_report", message)
            else:
                split = _SPLITS.get(splits.get(key, {}).get("split", "").strip().lower(), "")
                yield SourceStudy(
                    study_id=image,
                    volume=volumes[image],
                    report=report,
                    language="en",
                    patient_id=present(cells["person_id"]),
                    report_id=key,
                    columns=({"archive_split": split} if split else {}) | listed_columns(image, INSPECT_BROKEN),
                )
        for image in sorted(volumes.keys() - images.keys()):
            message = f"{volumes[image]} is not in {tables['study_mapping'].path.name}, so it has no report."
            yield SetAside(image, "no_row", message)


def _newest(files: list[Path]) -> tuple[dict[str, SourceTable], list[SetAside]]:
    """Read the newest version of each table; older ones, and copies of it, are set aside."""
    newest: dict[str, Path] = {}
    set_aside = []
    versions = [(match[1], match[2], file) for file in files if (match := _VERSION.fullmatch(file.name))]
    for name, _, file in sorted(versions, key=lambda item: item[1], reverse=True):
        read = newest.setdefault(name, file)
        if read != file:
            message = f"{file} was not read: {read} is as new or newer. Delete it, or the other one."
            set_aside.append(SetAside(file.name, "superseded", message))
    return {name: read_table(newest[name], _COLUMNS[name]) for name in _COLUMNS if name in newest}, set_aside


def _without_heading(report: str) -> str:
    match = _HEADING.match(report)
    return report[match.end() :] if match else report
