"""The released BIMCV-R: zip shards or unpacked folders `CT*/ct/*.nii.gz`, and `meta/*.csv` with reports and labels.

The tables' paths are those of the authors' machine (`/raid/…`); as their own loader does, a row is joined with the file
of the same base name. Columns as in the release's `BIMCV_meta.csv`.
"""

import zipfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bimcvr.curation.archives.archives import Keep, Limits, is_archive, release, unpack
from bimcvr.curation.archives.file_tree import files_below, ids_of, is_volume, stem_of
from bimcvr.curation.sources.csv_tables import Table, read_table
from bimcvr.curation.sources.label_columns import read_label_columns
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError

# the first that is there is read: the fullest first, then the later top-level one, then those of the authors' loader
TABLES = ("BIMCV_meta.csv", "BIMCV-R.csv", "BIMCV_meta_cyd.csv", "curated_ct_report_path_En.csv")
_PATHS = ("ct_path", "path")
Row = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class _Place:
    """Where a volume is: in which shard (empty for the top folder), under which path, packed in which archive."""

    shard: str
    path: str
    archive: Path | None


class BimcvR:
    """Reads the released BIMCV-R.

    Args:
        root: the folder that was downloaded, with zips or what was unpacked from them.
        table: the base name of the table to read; the first of `TABLES` that is there if empty.
        work: where shards are unpacked; `unpacked` in the root if empty.
        keep: what stays on disk once a shard is taken in.
        limits: what an archive may grow to.

    Attributes:
        passed_over: how many files were no part of the layout, by suffix; filled while reading.
    """

    def __init__(
        self, root: str, table: str = "", work: str = "", keep: Keep = "all", limits: Limits | None = None
    ) -> None:
        self.root = Path(root)
        self.table = table
        self.work = Path(work) if work else self.root / "unpacked"
        self.keep: Keep = keep
        self.limits = limits or Limits()
        self.passed_over: Counter[str] = Counter()
        if not self.root.is_dir():
            raise UserError(
                f"There is no folder {self.root}. Give the folder with BIMCV-R's zips, or with its CT* and meta"
                " folders."
            )

    def shards(self) -> list[str]:
        """Return the names of the shards, in order; without shards, one empty name."""
        return _shard_names(self._places()[0])

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies, shard by shard and within a shard in the table's order.

        A shard's files are there until the first study of the next is asked for; what then happens to them, `keep`
        says.

        Args:
            shards: read only these; what concerns no shard (the table's own faults) is then left out.
        """
        places, rows, faults = self._survey()
        if shards is None:
            yield from faults
        for shard in _shard_names(places):
            if shards is None or shard in shards:
                yield from self._read_shard(shard, rows[shard], places)

    def faults(self) -> list[SetAside]:
        """Return what concerns no shard: the table's own faults, and the rows and files that do not pair."""
        return self._survey()[2]

    def _survey(self) -> tuple[dict[str, list[_Place]], dict[str, list[Row]], list[SetAside]]:
        places, aside = self._places()
        table = self._table()
        rows: dict[str, list[Row]] = defaultdict(list)
        return places, rows, [*aside, *table.aside, *self._assign(table, places, rows)]

    def _read_shard(
        self, shard: str, rows: list[Row], places: dict[str, list[_Place]]
    ) -> Iterator[SourceStudy | SetAside]:
        archives = sorted(
            {place.archive for found in places.values() for place in found if place.shard == shard and place.archive}
        )
        if not archives:
            for row in rows:
                place = places[_base_name(row[1])][0]
                yield from _study(row, self.root / place.path, shard)
        for archive in archives:
            folder = self._folder(archive)
            unpacked = unpack(archive, folder, self.limits, is_volume)
            yield from unpacked.aside
            self.passed_over += unpacked.passed_over
            taken = 0
            for row in rows:
                place = places[_base_name(row[1])][0]
                if place.archive == archive and (folder / place.path).is_file():
                    yield from _study(row, folder / place.path, shard)
                    taken += 1
            held = sum(place.archive == archive for found in places.values() for place in found)
            release(archive, folder, self.keep, whole=taken == held)

    def _assign(self, table: Table, places: dict[str, list[_Place]], rows: dict[str, list[Row]]) -> Iterator[SetAside]:
        """Give each row to its file's shard; yield the rows and files that do not pair."""
        taken: dict[str, int] = {}
        for line, cells in table.rows:
            name = _base_name(cells)
            here = f"{table.path.name}: line {line}"
            found = places.get(name, [])
            if not name:
                yield SetAside(here, "no_path", f"{here} names no volume in {' or '.join(_PATHS)}. Fill it in.")
            elif name in taken:
                yield SetAside(here, "duplicate_row", f"{here} names {name}, which line {taken[name]} has already.")
            elif not found:
                yield SetAside(
                    here, "missing_file", f"{here} names {name}, which is not below {self.root}. Fetch its shard."
                )
            elif len(found) > 1:
                where = ", ".join(place.path for place in found[:3])
                yield SetAside(
                    here,
                    "ambiguous_name",
                    f"{here} names {name}, which is there {len(found)} times ({where}). Keep one.",
                )
            else:
                taken[name] = line
                rows[found[0].shard].append((line, cells))
        for name in sorted(places.keys() - {_base_name(cells) for _, cells in table.rows}):
            yield SetAside(name, "no_row", f"{places[name][0].path} has no row in {table.path.name}, so no report.")

    def _places(self) -> tuple[dict[str, list[_Place]], list[SetAside]]:
        """Find every volume by its base name: on disk, and in the archives' own lists."""
        files, aside = files_below(self.root, self.work)
        places: dict[str, list[_Place]] = defaultdict(list)
        for file in files:
            if is_volume(file.name):
                inside = file.relative_to(self.root)
                places[file.name].append(_Place(_shard_of(inside), inside.as_posix(), None))
        for archive in (file for file in files if is_archive(file)):
            try:
                with zipfile.ZipFile(archive) as packed:
                    members = [
                        (item.filename, item.file_size) for item in packed.infolist() if is_volume(item.filename)
                    ]
            except (zipfile.BadZipFile, OSError, ValueError) as error:
                aside.append(
                    SetAside(archive.name, "bad_zip", f"{archive} is no readable zip ({error}). Fetch it again.")
                )
                continue
            for path, size in members:
                # somebody has unpacked it beside the archive
                twin = self.root / path
                if not (".." not in path and twin.is_file() and twin.stat().st_size == size):
                    places[path.rsplit("/", 1)[-1]].append(_Place(archive.stem, path, archive))
        return places, aside

    def _folder(self, archive: Path, suffix: str = "") -> Path:
        return self.work / ("_".join(archive.relative_to(self.root).parts) + suffix)

    def _table(self) -> Table:
        files, _ = files_below(self.root, self.work)
        tables = [file for file in files if file.suffix.lower() == ".csv"]
        aside: list[SetAside] = []
        for archive in (file for file in files if file.suffix.lower() == ".zip"):
            if _holds_tables(archive):
                unpacked = unpack(archive, self._folder(archive, ".tables"), self.limits, _is_table)
                tables += files_below(unpacked.folder)[0]
                aside += unpacked.aside
        for name in [self.table] if self.table else TABLES:
            for file in tables:
                if file.name == name:
                    table = read_table(file)
                    return replace(table, aside=(*aside, *table.aside))
        names = (
            ", ".join([*sorted({file.name for file in tables}), *(item.message for item in aside)]) or "no table at all"
        )
        raise UserError(
            f"{self.root} has no table {self.table or ' or '.join(TABLES)}; it has {names}. Put it there, or name"
            " another one with `table`."
        )


def _study(row: Row, volume: Path, shard: str) -> Iterator[SourceStudy | SetAside]:
    line, cells = row
    spanish, english = cells.get("Report", "").strip(), cells.get("Report_en", "").strip()
    name = stem_of(volume.name)
    patient, session = ids_of(volume.name)
    columns = {"table_line": str(line), "file_patient_id": patient, "file_report_id": session}
    cohort = [cells.get(column, "") for column in _PATHS]
    if any(cohort):
        columns["cohort"] = (
            "negative" if any("negative" in path.lower() or "covid19_neg" in path for path in cohort) else "positive"
        )
    labels, further, faults = read_label_columns(name, cells)
    columns |= further
    yield SourceStudy(
        study_id=name,
        volume=volume,
        report=spanish or english,
        language="es" if spanish else "en",
        patient_id=cells.get("PatientID", "").strip() or patient,
        report_id=cells.get("ReportID", "").strip() or session,
        shard=shard,
        labels=labels,
        translation=english if spanish else "",
        columns={column: text for column, text in columns.items() if text},
    )
    yield from faults


def _shard_names(places: dict[str, list[_Place]]) -> list[str]:
    return sorted({place.shard for found in places.values() for place in found}, key=lambda name: (len(name), name))


def _base_name(cells: dict[str, str]) -> str:
    """Return the name of a row's file: of `path` and `ct_path`, one may be the folder."""
    for column in _PATHS:
        name = cells.get(column, "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        if is_volume(name):
            return name
    return ""


def _shard_of(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else ""


def _is_table(name: str) -> bool:
    return name.lower().endswith(".csv")


def _holds_tables(archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as packed:
            return any(map(_is_table, packed.namelist()))
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
