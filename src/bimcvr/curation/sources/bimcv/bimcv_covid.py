"""Raw BIMCV-COVID19+: a MIDS tree `covid19_posi/sub-*/ses-*/mod-rx/*_ct.nii.gz` with its tables, unpacked or as tars.

A report belongs to a session: `ReportID` in the labels tables is the `ses-…` of the file name. The DICOM tags of a
volume are in a .json file beside it with the same stem; the .png files in the same folders are X-rays and passed over.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

from bimcvr.curation.archives.extractor import ArchiveLimits
from bimcvr.curation.archives.file_tree import files_below, ids_of, is_volume, stem_of
from bimcvr.curation.archives.member_names import member_path
from bimcvr.curation.archives.unpack import (
    TAR_SUFFIXES,
    Keep,
    delete_ingested,
    is_archive,
    listed_members,
    sha1_sums,
    unpack,
)
from bimcvr.curation.sources.bimcv.bimcv_covid_parts import is_part, parts_of
from bimcvr.curation.sources.bimcv.bimcv_covid_tables import CovidTables, read_tables
from bimcvr.curation.sources.bimcv.label_columns import read_label_columns
from bimcvr.curation.sources.bimcv.rotations import agrees_with_header
from bimcvr.curation.sources.dicom_metadata import columns_of_json
from bimcvr.curation.sources.table_reader import parse_list, read_table
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.reading.refused import escaped
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

_TABLES = (".tsv", ".csv")
# reasons for which a volume of a part has no study: the part must then not be deleted
_NO_STUDY = ("ambiguous_name", "no_ids", "missing_file")
_COHORTS = {"covid19_posi": "positive", "covid19_neg": "negative"}


class BimcvCovid19:
    """Reads raw BIMCV-COVID19+.

    Tables are read wherever they are: in the tree, in archives of their own, or in the parts.

    Args:
        root: the downloaded folder, with the tar parts or the tree unpacked from them.
        report: the source of the text: the `labels` tables (lower case, no punctuation) or the `sessions` tables
            (`medical_evaluation`, as it was written). Where one has no text, the other is used.
        work: the folder to unpack parts to; `unpacked` in the root if empty.
        keep: what `release` leaves on disk: `all`, `archives` (unpacked volumes are deleted) or `nothing` (the tars
            too, if every volume in them has become a study).
        verify: compare the checksum of each part with `sha1sum.txt`, where that lists it.
        limits: how large an archive may become.

    Attributes:
        passed_over: the number of files that are no CT, by suffix (`.png` are X-rays); filled while reading.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(
        self,
        root: str,
        report: Literal["labels", "sessions"] = "labels",
        work: str = "",
        keep: Keep = "all",
        verify: bool = True,
        limits: ArchiveLimits | None = None,
    ) -> None:
        self.root = Path(root)
        self.report = report
        self.work = Path(work) if work else self.root / "unpacked"
        self.keep: Keep = keep
        self.verify = verify
        self.limits = limits or ArchiveLimits()
        self.passed_over: Counter[str] = Counter()
        # the parts that `studies` has read to the end, and whether every volume in them has become a study
        self._read_parts: dict[str, list[tuple[Path, bool]]] = {}
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give the folder with BIMCV-COVID19+'s parts or tree.")

    def shards(self) -> list[str]:
        """Return the names of the shards in order: the tar parts, and the empty name if there is an unpacked tree."""
        files, _ = files_below(self.root, self.work)
        loose = [""] if any(is_volume(file.name) for file in files) else []
        return loose + [escaped(part.name) for part in parts_of(files)[0]]

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies, part by part, in the order of their names.

        The files of a part stay on disk until `release`.

        Args:
            shards: the parts to read; None for everything, including the faults that concern no part.
        """
        files, set_aside = files_below(self.root, self.work)
        parts, unread = parts_of(files)
        tables = self._tables(files)
        seen: set[str] = set()
        checksums = {
            name: sha1 for file in files if file.name.lower() == "sha1sum.txt" for name, sha1 in sha1_sums(file).items()
        }
        if shards is None:
            yield from [*set_aside, *unread, *tables.set_aside]
        if shards is None or "" in shards:
            yield from self._read_tree(files, self.root, "", tables, seen)
        for part in parts:
            shard = escaped(part.name)
            if shards is not None and shard not in shards:
                continue
            sha1 = checksums.get(part.name, "") if self.verify else ""
            unpacked = unpack(part, self._folder(part), self.limits, _is_wanted, sha1)
            self.passed_over += unpacked.passed_over
            members, _ = files_below(unpacked.folder)
            part_tables = replace(tables, set_aside=[])
            read_tables(members, part_tables)
            known = {item.name.partition(": ")[2] for item in unpacked.set_aside}
            complete = not unpacked.set_aside
            for item in chain(
                unpacked.set_aside,
                part_tables.set_aside,
                _missing_members(part, unpacked.folder, known),
                self._read_tree(members, unpacked.folder, shard, part_tables, seen),
            ):
                complete = complete and not (isinstance(item, SetAside) and item.reason in _NO_STUDY)
                yield item
            self._read_parts.setdefault(shard, []).append((part, complete))

    def release(self, shard: str) -> None:
        """Delete what need not stay on disk, by `keep`, of a part that `studies` has read to the end.

        Args:
            shard: the name of the part; nothing of an unpacked tree is deleted.
        """
        for part, complete in self._read_parts.pop(shard, []):
            delete_ingested(part, self._folder(part), self.keep, complete)

    def faults(self) -> list[SetAside]:
        """Return what concerns no part: links that lead out of the folder, and faults of the tables."""
        files, set_aside = files_below(self.root, self.work)
        return [*set_aside, *parts_of(files)[1], *self._tables(files).set_aside]

    def _read_tree(
        self, files: list[Path], root: Path, shard: str, tables: CovidTables, seen: set[str]
    ) -> Iterator[SourceStudy | SetAside]:
        names = {file.name for file in files}
        for file in files:
            name = file.name
            if is_volume(name) and stem_of(name).endswith("_ct") and name in seen:
                yield SetAside(
                    str(file.relative_to(root)),
                    "ambiguous_name",
                    f"{file} has the same name as another volume. Keep one.",
                )
            elif is_volume(name) and stem_of(name).endswith("_ct"):
                seen.add(name)
                yield from self._study(file, root, shard, tables, stem_of(name) + ".json" in names)
            elif name.endswith("_scans.tsv"):
                yield from _missing_scans(file, names)
            elif not (_is_wanted(name) or is_archive(file) or name.endswith(".txt")):
                self.passed_over[file.suffix] += 1

    def _study(
        self, file: Path, root: Path, shard: str, tables: CovidTables, has_tags: bool
    ) -> Iterator[SourceStudy | SetAside]:
        name = stem_of(file.name)
        patient, session = ids_of(file.name)
        if not session:
            yield SetAside(
                file.name,
                "no_ids",
                f"{file} does not name its subject and session (sub-…_ses-…), so its report cannot be found.",
            )
            return
        row = tables.reports.get(session, {})
        columns = {"file_patient_id": patient, "file_report_id": session, **tables.people.get(patient, {})}
        for folder, cohort in _COHORTS.items():
            if folder in file.relative_to(root).parts:
                columns["cohort"] = cohort
        faults = _read_tags(file, columns) if has_tags else []
        kind = tables.rotations.get(name)
        if kind:
            columns["rotation"] = kind
            agrees = agrees_with_header(kind, file)
            columns["rotation_in_header"] = {True: "yes", False: "no", None: ""}[agrees]
        labels, further, unread = read_label_columns(name, row)
        columns |= further
        texts = {"labels": _text_of(row.get("Report", "")), "sessions": tables.evaluations.get(session, "")}
        report = texts[self.report] or texts["sessions" if self.report == "labels" else "labels"]
        yield SourceStudy(
            study_id=name,
            volume=file,
            report=report,
            language="es",
            patient_id=present(row.get("PatientID", "")) or patient,
            report_id=session,
            shard=shard,
            labels=labels,
            columns={column: text for column, text in columns.items() if text},
        )
        yield from [*faults, *unread]

    def _tables(self, files: list[Path]) -> CovidTables:
        """Read all tables in the tree and in archives."""
        tables = CovidTables()
        paths = [file for file in files if file.name.endswith(_TABLES)]
        for archive in (file for file in files if file.name.lower().endswith(TAR_SUFFIXES) and not is_part(file)):
            folder = self._folder(archive)
            folder = folder.with_name(folder.name + ".tables")
            unpacked = unpack(archive, folder, self.limits, lambda name: name.endswith(_TABLES))
            tables.set_aside += unpacked.set_aside
            paths += files_below(unpacked.folder)[0]
        read_tables(paths, tables)
        return tables

    def _folder(self, archive: Path) -> Path:
        return self.work / "_".join(archive.relative_to(self.root).parts)


def _is_wanted(name: str) -> bool:
    return (is_volume(name) and stem_of(name).endswith("_ct")) or name.endswith(("_ct.json", *_TABLES))


def _read_tags(file: Path, columns: dict[str, str]) -> list[SetAside]:
    path = file.with_name(stem_of(file.name) + ".json")
    try:
        # age and sex in the tables are the patient's in general, those in the tags at the time of the examination
        columns.update(columns_of_json(path))
    except (ValueError, RecursionError) as error:
        return [
            SetAside(
                path.name,
                "unreadable_tags",
                f"{path} cannot be read ({type(error).__name__}). Its columns are left empty.",
            )
        ]
    return []


def _text_of(cell: str) -> str:
    """Return the text of a report: the cell, or the items of the list in it."""
    if cell.lstrip().startswith("["):
        try:
            return "\n".join(parse_list(cell))
        except ValueError:
            pass
    return cell.strip()


def _missing_scans(path: Path, names: set[str]) -> Iterator[SetAside]:
    """Yield the CT volumes that a `_scans.tsv` lists but that are missing."""
    for _, cells in read_table(path).rows:
        for cell in cells.values():
            name = cell.strip().rsplit("/", 1)[-1]
            if is_volume(name) and stem_of(name).endswith("_ct") and name not in names:
                yield SetAside(
                    name, "missing_file", f"{path.name} lists {name}, which is missing. Download its part again."
                )


def _missing_members(part: Path, folder: Path, known: set[str]) -> Iterator[SetAside]:
    """Yield the members that are in the part's listing (`….tar-tvf.txt`) but not in the part."""
    listing = next(
        (
            path
            for path in (
                part.with_name(part.name + ".tar-tvf.txt"),
                part.with_name(part.name.split(".")[0] + ".tar-tvf.txt"),
            )
            if path.is_file()
        ),
        None,
    )
    for name, size in listed_members(listing) if listing else ():
        target = folder / name
        is_there = os.path.isfile(target) and target.stat().st_size == size
        if _is_wanted(name) and member_path(name) not in known and not is_there:
            yield SetAside(
                f"{part.name}: {name}",
                "missing_file",
                f"{name} is in the listing of {part.name} but not in the part. Download it again.",
            )
