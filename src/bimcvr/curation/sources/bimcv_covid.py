"""Raw BIMCV-COVID19+: a MIDS tree `covid19_posi/sub-*/ses-*/mod-rx/*_ct.nii.gz`, unpacked or in tar parts.

Its tables.

A report's key is the session: `ReportID` of the labels tables is the `ses-…` of the file name. Tags lie beside each
volume in a .json of the same stem; X-rays are .png files in the same folders and are passed over.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from bimcvr.curation.archives.archives import (
    TAR_SUFFIXES,
    Keep,
    Limits,
    is_archive,
    listed_members,
    release,
    sha1_sums,
    unpack,
)
from bimcvr.curation.archives.file_tree import files_below, ids_of, is_volume, stem_of
from bimcvr.curation.sources.csv_tables import parse_list, read_table
from bimcvr.curation.sources.dicom_metadata import age_in_years, columns_of_json
from bimcvr.curation.sources.label_columns import read_label_columns
from bimcvr.curation.sources.rotations import PATTERN, agrees_with_header, read_rotations
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError

_TABLES = (".tsv", ".csv")
# archives with tables only, as `covid19_posi_sessions_tsv.tar.gz`; the parts with volumes are `…subjects…part…` or
# `…subjects_12.tgz`
_TABLE_ARCHIVE = re.compile(r"(head|_tsv|metadata|derivative|subjects)(_iter\w+)?\.t")
# reasons for which a volume of a part is not taken: the part is then no spare one
_UNTAKEN = ("ambiguous_name", "no_ids", "missing_file")
_COHORTS = {"covid19_posi": "positive", "covid19_neg": "negative"}


@dataclass
class _Tables:
    """What the tables say, by session, subject or series."""

    reports: dict[str, dict[str, str]] = field(default_factory=dict)
    evaluations: dict[str, str] = field(default_factory=dict)
    people: dict[str, dict[str, str]] = field(default_factory=dict)
    rotations: dict[str, str] = field(default_factory=dict)
    aside: list[SetAside] = field(default_factory=list)


class BimcvCovid19:
    """Reads raw BIMCV-COVID19+.

    Tables are read wherever they lie: in the tree, in archives of their own, or in the parts.

    Args:
        root: the folder that was downloaded, with tar parts or the tree unpacked from them.
        report: where the text is from: the `labels` tables (lower case, no punctuation) or the `sessions` tables
            (`medical_evaluation`, as it was written). The other one is taken where the first has none.
        work: where parts are unpacked; `unpacked` in the root if empty.
        keep: what stays on disk once a part is taken in.
        verify: compare each part with `sha1sum.txt`, where that lists it.
        limits: what an archive may grow to.

    Attributes:
        passed_over: how many files were no CT, by suffix (`.png` are X-rays); filled while reading.
    """

    def __init__(
        self,
        root: str,
        report: Literal["labels", "sessions"] = "labels",
        work: str = "",
        keep: Keep = "all",
        verify: bool = True,
        limits: Limits | None = None,
    ) -> None:
        self.root = Path(root)
        self.report = report
        self.work = Path(work) if work else self.root / "unpacked"
        self.keep: Keep = keep
        self.verify = verify
        self.limits = limits or Limits()
        self.passed_over: Counter[str] = Counter()
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give the folder with BIMCV-COVID19+'s parts or tree.")

    def shards(self) -> list[str]:
        """Return the names of the shards in order: the tar parts, and the empty name if there is an unpacked tree."""
        files, _ = files_below(self.root, self.work)
        loose = [""] if any(is_volume(file.name) for file in files) else []
        return loose + [file.name for file in files if _is_part(file)]

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies, part by part, in the order of their names.

        A part's files are there until the first study of the next is asked for; what then happens to them, `keep` says.

        Args:
            shards: read only these; what concerns no shard (the tables' own faults) is then left out.
        """
        files, aside = files_below(self.root, self.work)
        tables = self._tables(files)
        seen: set[str] = set()
        checksums = {
            name: sha1 for file in files if file.name.lower() == "sha1sum.txt" for name, sha1 in sha1_sums(file).items()
        }
        if shards is None:
            yield from [*aside, *tables.aside]
        if shards is None or "" in shards:
            yield from self._read_tree(files, self.root, "", tables, seen)
        for part in (file for file in files if _is_part(file)):
            if shards is not None and part.name not in shards:
                continue
            sha1 = checksums.get(part.name, "") if self.verify else ""
            unpacked = unpack(part, self._folder(part), self.limits, _is_wanted, sha1)
            self.passed_over += unpacked.passed_over
            found, _ = files_below(unpacked.folder)
            own = replace(tables, aside=[])
            _take_tables(found, own)
            known = {item.name.partition(": ")[2] for item in unpacked.aside}
            whole = not unpacked.aside
            for item in chain(
                unpacked.aside,
                own.aside,
                _lacking(part, unpacked.folder, known),
                self._read_tree(found, unpacked.folder, part.name, own, seen),
            ):
                whole = whole and not (isinstance(item, SetAside) and item.reason in _UNTAKEN)
                yield item
            release(part, unpacked.folder, self.keep, whole)

    def faults(self) -> list[SetAside]:
        """Return what concerns no shard: links that lead outside, and the tables' own faults."""
        files, aside = files_below(self.root, self.work)
        return [*aside, *self._tables(files).aside]

    def _read_tree(
        self, files: list[Path], root: Path, shard: str, tables: _Tables, seen: set[str]
    ) -> Iterator[SourceStudy | SetAside]:
        there = {file.name for file in files}
        for file in files:
            name = file.name
            if is_volume(name) and stem_of(name).endswith("_ct") and name in seen:
                yield SetAside(
                    str(file.relative_to(root)),
                    "ambiguous_name",
                    f"{file} has a name that another volume has. Keep one.",
                )
            elif is_volume(name) and stem_of(name).endswith("_ct"):
                seen.add(name)
                yield from self._study(file, root, shard, tables, stem_of(name) + ".json" in there)
            elif name.endswith("_scans.tsv"):
                yield from _unmet_scans(file, there)
            elif not (_is_wanted(name) or is_archive(file) or name.endswith(".txt")):
                self.passed_over[file.suffix] += 1

    def _study(
        self, file: Path, root: Path, shard: str, tables: _Tables, has_tags: bool
    ) -> Iterator[SourceStudy | SetAside]:
        name = stem_of(file.name)
        patient, session = ids_of(file.name)
        if not session:
            yield SetAside(
                file.name,
                "no_ids",
                f"{file} does not name its subject and session (sub-…_ses-…), so no report can be found.",
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
            patient_id=row.get("PatientID", "").strip() or patient,
            report_id=session,
            shard=shard,
            labels=labels,
            columns={column: text for column, text in columns.items() if text},
        )
        yield from [*faults, *unread]

    def _tables(self, files: list[Path]) -> _Tables:
        """Read every table: those in the tree, and those in archives."""
        tables = _Tables()
        paths = [file for file in files if file.name.endswith(_TABLES)]
        for archive in (file for file in files if file.name.lower().endswith(TAR_SUFFIXES) and not _is_part(file)):
            folder = self._folder(archive)
            folder = folder.with_name(folder.name + ".tables")
            unpacked = unpack(archive, folder, self.limits, lambda name: name.endswith(_TABLES))
            tables.aside += unpacked.aside
            paths += files_below(unpacked.folder)[0]
        _take_tables(paths, tables)
        return tables

    def _folder(self, archive: Path) -> Path:
        return self.work / "_".join(archive.relative_to(self.root).parts)


def _is_part(file: Path) -> bool:
    name = file.name.lower()
    return name.endswith(TAR_SUFFIXES) and not _TABLE_ARCHIVE.search(name)


def _is_wanted(name: str) -> bool:
    return (is_volume(name) and stem_of(name).endswith("_ct")) or name.endswith(("_ct.json", *_TABLES))


def _take_tables(paths: list[Path], tables: _Tables) -> None:
    """Read the tables among some files."""
    rotations, aside = read_rotations([path for path in paths if PATTERN.fullmatch(path.name)])
    tables.rotations |= rotations
    tables.aside += aside
    for path in paths:
        if path.name == "participants.tsv":
            _read_people(path, tables)
        elif path.name.endswith("_sessions.tsv"):
            _read_sessions(path, tables)
        elif path.parent.name == "labels" and path.suffix == ".tsv":
            _read_reports(path, tables)


def _read_people(path: Path, tables: _Tables) -> None:
    table = read_table(path)
    tables.aside += table.aside
    for _, cells in table.rows:
        sex = cells.get("gender", "").strip()
        tables.people[cells.get("participant", "").strip()] = {
            "sex": sex if sex in ("F", "M") else "",
            "age": age_in_years(cells.get("age", "")),
        }


def _read_sessions(path: Path, tables: _Tables) -> None:
    table = read_table(path)
    tables.aside += table.aside
    for line, cells in table.rows:
        session = cells.get("session_id", "").strip()
        try:
            text = "\n".join(parse_list(cells.get("medical_evaluation", "")))
        except ValueError as error:
            here = f"{path.name}: line {line}"
            tables.aside.append(
                SetAside(here, "unreadable_list", f"{here}, medical_evaluation: {error}. The text was left out.")
            )
            continue
        if session and text:
            tables.evaluations[session] = text


def _read_reports(path: Path, tables: _Tables) -> None:
    table = read_table(path)
    tables.aside += table.aside
    for line, cells in table.rows:
        session = cells.get("ReportID", "").strip()
        here = f"{path.name}: line {line}"
        if not session:
            tables.aside.append(
                SetAside(here, "no_key", f"{here} has no ReportID, so its report belongs to no session.")
            )
        elif session in tables.reports and tables.reports[session] != cells:
            tables.aside.append(
                SetAside(here, "duplicate_row", f"{here}: {session} has another report already; the first was taken.")
            )
        else:
            tables.reports[session] = cells


def _read_tags(file: Path, columns: dict[str, str]) -> list[SetAside]:
    path = file.with_name(stem_of(file.name) + ".json")
    try:
        # the tables' age and sex hold for the patient, the tags' for the examination
        columns.update(columns_of_json(path))
    except (ValueError, RecursionError) as error:
        return [
            SetAside(
                path.name, "unreadable_tags", f"{path} cannot be read ({type(error).__name__}). Its columns stay empty."
            )
        ]
    return []


def _text_of(cell: str) -> str:
    """Return a report's text: the cell, or the items of the list that it is."""
    if cell.lstrip().startswith("["):
        try:
            return "\n".join(parse_list(cell))
        except ValueError:
            pass
    return cell.strip()


def _unmet_scans(path: Path, there: set[str]) -> Iterator[SetAside]:
    """Yield the CT volumes that a `_scans.tsv` lists and that are not there."""
    for _, cells in read_table(path).rows:
        for cell in cells.values():
            name = cell.strip().rsplit("/", 1)[-1]
            if is_volume(name) and stem_of(name).endswith("_ct") and name not in there:
                yield SetAside(
                    name, "missing_file", f"{path.name} lists {name}, which is not there. Fetch its part again."
                )


def _lacking(part: Path, folder: Path, known: set[str]) -> Iterator[SetAside]:
    """Yield what the part's listing (`….tar-tvf.txt`) promises and the part did not give."""
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
        if _is_wanted(name) and name not in known and not (target.is_file() and target.stat().st_size == size):
            yield SetAside(
                f"{part.name}: {name}",
                "missing_file",
                f"{part.name} lacks {name}, which its listing has. Fetch it again.",
            )
