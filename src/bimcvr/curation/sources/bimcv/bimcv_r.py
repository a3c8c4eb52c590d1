"""The released BIMCV-R: zip shards or unpacked folders `CT*/ct/*.nii.gz`, and `meta/*.csv` with reports and labels.

The paths in the tables are those of the authors' machine (`/raid/…`); as in their own loader, a row belongs to the file
with the same base name. The columns are those of the release's `BIMCV_meta.csv`.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bimcvr.curation.archives.extractor import ArchiveLimits
from bimcvr.curation.archives.file_tree import files_below, ids_of, is_volume, stem_of
from bimcvr.curation.archives.unpack import Keep, delete_ingested, unpack
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.archives.zip_directory import UnreadableZip, ZipMember, zip_members
from bimcvr.curation.sources.bimcv.label_columns import read_label_columns
from bimcvr.curation.sources.table_reader import SourceTable, read_table
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.reading.refused import escaped
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

# the first one found is read: the most complete first, then the later top-level one, then those of the authors' loader
TABLES = ("BIMCV_meta.csv", "BIMCV-R.csv", "BIMCV_meta_cyd.csv", "curated_ct_report_path_En.csv")
_PATHS = ("ct_path", "path")
_ZIP = (".zip",)
_TableRow = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class _VolumeLocation:
    """Where a volume is.

    Attributes:
        shard: the name of its shard; empty for the top folder.
        path: its path in the root folder, or in the archive.
        archive: the archive that contains it; None for an unpacked file.
    """

    shard: str
    path: str
    archive: Path | None

    @property
    def label(self) -> str:
        """The path, after the name of the archive where there is one."""
        return f"{self.archive.name}: {self.path}" if self.archive else self.path


class BimcvR:
    """Reads the released BIMCV-R.

    Args:
        root: the downloaded folder, with the zips or what was unpacked from them.
        table: the base name of the table to read; if empty, the first of `TABLES` that exists.
        work: the folder to unpack shards to; `unpacked` in the root if empty.
        keep: what `release` leaves on disk: `all`, `archives` (unpacked volumes are deleted) or `nothing` (the zips
            too, if every volume in them was read).
        limits: how large an archive may become.

    Attributes:
        passed_over: the number of files that are not part of the layout, by suffix; filled while reading.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(
        self, root: str, table: str = "", work: str = "", keep: Keep = "all", limits: ArchiveLimits | None = None
    ) -> None:
        self.root = Path(root)
        self.table = table
        self.work = Path(work) if work else self.root / "unpacked"
        self.keep: Keep = keep
        self.limits = limits or ArchiveLimits()
        self.passed_over: Counter[str] = Counter()
        # the archives of each shard that `studies` has read to the end, and whether all their volumes have a row
        self._read_archives: dict[str, dict[Path, bool]] = {}
        if not self.root.is_dir():
            raise UserError(
                f"There is no folder {self.root}. Give the folder with BIMCV-R's zips, or with its CT* and meta"
                " folders."
            )

    def shards(self) -> list[str]:
        """Return the names of the shards, in order; without shards, one empty name."""
        return _shard_names(self._locations()[0])

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies, shard by shard, and within a shard in the order of the table.

        The files of a shard stay on disk until `release`.

        Args:
            shards: the shards to read; None for everything, including the faults that concern no shard.

        Raises:
            UserError: there is no table.
        """
        locations, rows, faults = self._survey()
        if shards is None:
            yield from faults
        for shard in _shard_names(locations):
            if shards is None or shard in shards:
                yield from self._read_shard(shard, rows[shard], locations)

    def release(self, shard: str) -> None:
        """Delete what need not stay on disk, by `keep`, of a shard that `studies` has read to the end.

        Args:
            shard: the name of the shard.
        """
        for archive, complete in self._read_archives.pop(shard, {}).items():
            delete_ingested(archive, self._folder(archive), self.keep, complete)

    def faults(self) -> list[SetAside]:
        """Return what concerns no shard: faults of the table, and rows and files that do not match."""
        return self._survey()[2]

    def _survey(self) -> tuple[dict[str, list[_VolumeLocation]], dict[str, list[_TableRow]], list[SetAside]]:
        locations, set_aside = self._locations()
        table = self._table()
        rows: dict[str, list[_TableRow]] = defaultdict(list)
        return locations, rows, [*set_aside, *table.set_aside, *self._assign(table, locations, rows)]

    def _read_shard(
        self, shard: str, rows: list[_TableRow], locations: dict[str, list[_VolumeLocation]]
    ) -> Iterator[SourceStudy | SetAside]:
        contents: dict[Path, int] = Counter(
            location.archive
            for matches in locations.values()
            for location in matches
            if location.shard == shard and location.archive
        )
        if not contents:
            for row in rows:
                yield from _study(row, self.root / locations[_base_name(row[1])][0].path, shard)
        for archive in sorted(contents):
            folder = self._folder(archive)
            unpacked = unpack(archive, folder, self.limits, is_volume)
            yield from unpacked.set_aside
            self.passed_over += unpacked.passed_over
            count = 0
            for row in rows:
                location = locations[_base_name(row[1])][0]
                if location.archive == archive and os.path.isfile(folder / location.path):
                    yield from _study(row, folder / location.path, shard)
                    count += 1
            self._read_archives.setdefault(shard, {})[archive] = count == contents[archive]

    def _assign(
        self, table: SourceTable, locations: dict[str, list[_VolumeLocation]], rows: dict[str, list[_TableRow]]
    ) -> Iterator[SetAside]:
        """Assign each row to the shard of its file; yield the rows and files that do not match."""
        lines: dict[str, int] = {}
        for line, cells in table.rows:
            name = _base_name(cells)
            label = f"{table.path.name}: line {line}"
            matches = locations.get(name, [])
            if not name:
                yield SetAside(label, "no_path", f"{label} names no volume in {' or '.join(_PATHS)}. Fill it in.")
            elif name in lines:
                yield SetAside(label, "duplicate_row", f"{label} names {name}, which line {lines[name]} has already.")
            elif not matches:
                yield SetAside(
                    label, "missing_file", f"{label} names {name}, which is not below {self.root}. Download its shard."
                )
            elif len(matches) > 1:
                paths = ", ".join(location.label for location in matches[:3])
                yield SetAside(
                    label,
                    "ambiguous_name",
                    f"{label} names {name}, which exists {len(matches)} times ({paths}). Keep one.",
                )
            else:
                lines[name] = line
                rows[matches[0].shard].append((line, cells))
        for name in sorted(locations.keys() - {_base_name(cells) for _, cells in table.rows}):
            yield SetAside(
                name, "no_row", f"{locations[name][0].label} has no row in {table.path.name}, so it has no report."
            )

    def _locations(self) -> tuple[dict[str, list[_VolumeLocation]], list[SetAside]]:
        """Find every volume by its base name: on disk, and in the archives' directories."""
        files, set_aside = files_below(self.root, self.work)
        locations: dict[str, list[_VolumeLocation]] = defaultdict(list)
        for file in files:
            if is_volume(file.name):
                inside = file.relative_to(self.root)
                locations[file.name].append(_VolumeLocation(_shard_of(inside), inside.as_posix(), None))
        set_aside += unread_archives(files, _ZIP)
        contents: dict[frozenset[ZipMember], Path] = {}
        # the shorter name first: of `CT1.zip` and a second download `CT1 (1).zip` the former is taken
        for archive in sorted(filter(_is_zip, files), key=lambda file: (len(file.name), file)):
            try:
                members = frozenset(member for member in zip_members(archive) if is_volume(member.path))
            except UnreadableZip as error:
                set_aside.append(SetAside(archive.name, error.reason, f"{archive} {error}"))
                continue
            original = contents.setdefault(members, archive)
            if members and original != archive:
                message = f"{archive} has the same volumes as {original}, so it was left out. Delete it."
                set_aside.append(SetAside(archive.name, "duplicate_archive", message))
                continue
            for path, size, _ in sorted(members):
                # skip what is also unpacked beside the archive
                copy = self.root / path
                if not (".." not in path and os.path.isfile(copy) and copy.stat().st_size == size):
                    locations[path.rsplit("/", 1)[-1]].append(_VolumeLocation(escaped(archive.stem), path, archive))
        return locations, set_aside

    def _folder(self, archive: Path, suffix: str = "") -> Path:
        return self.work / ("_".join(archive.relative_to(self.root).parts) + suffix)

    def _table(self) -> SourceTable:
        files, _ = files_below(self.root, self.work)
        tables = [file for file in files if file.suffix.lower() == ".csv"]
        set_aside: list[SetAside] = []
        for archive in filter(_is_zip, files):
            if _holds_tables(archive):
                unpacked = unpack(archive, self._folder(archive, ".tables"), self.limits, _is_table)
                tables += files_below(unpacked.folder)[0]
                set_aside += unpacked.set_aside
        for name in [self.table] if self.table else TABLES:
            for file in tables:
                if file.name == name:
                    table = read_table(file)
                    return replace(table, set_aside=(*set_aside, *table.set_aside))
        names = (
            ", ".join([*sorted({file.name for file in tables}), *(item.message for item in set_aside)])
            or "no table at all"
        )
        raise UserError(
            f"{self.root} has no table {self.table or ' or '.join(TABLES)}; it has {names}. Add it, or name another"
            " one with `table`."
        )


def _study(row: _TableRow, volume: Path, shard: str) -> Iterator[SourceStudy | SetAside]:
    line, cells = row
    spanish, english = cells.get("Report", "").strip(), cells.get("Report_en", "").strip()
    name = stem_of(volume.name)
    patient, session = ids_of(volume.name)
    columns = {"table_line": str(line), "file_patient_id": patient, "file_report_id": session}
    paths = [cells.get(column, "") for column in _PATHS]
    if any(paths):
        columns["cohort"] = (
            "negative" if any("negative" in path.lower() or "covid19_neg" in path for path in paths) else "positive"
        )
    labels, further, faults = read_label_columns(name, cells)
    columns |= further
    yield SourceStudy(
        study_id=name,
        volume=volume,
        report=spanish or english,
        language="es" if spanish else "en",
        patient_id=present(cells.get("PatientID", "")) or patient,
        report_id=present(cells.get("ReportID", "")) or session,
        shard=shard,
        labels=labels,
        translation=english if spanish else "",
        columns={column: text for column, text in columns.items() if text},
    )
    yield from faults


def _shard_names(locations: dict[str, list[_VolumeLocation]]) -> list[str]:
    return sorted(
        {location.shard for matches in locations.values() for location in matches}, key=lambda name: (len(name), name)
    )


def _base_name(cells: dict[str, str]) -> str:
    """Return the file name in a row: of `path` and `ct_path`, one may be a folder."""
    for column in _PATHS:
        name = cells.get(column, "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        if is_volume(name):
            return name
    return ""


def _shard_of(path: Path) -> str:
    return escaped(path.parts[0]) if len(path.parts) > 1 else ""


def _is_table(name: str) -> bool:
    return name.lower().endswith(".csv")


def _is_zip(file: Path) -> bool:
    return file.name.lower().endswith(_ZIP)


def _holds_tables(archive: Path) -> bool:
    try:
        return any(_is_table(member.path) for member in zip_members(archive))
    except UnreadableZip:
        return False
