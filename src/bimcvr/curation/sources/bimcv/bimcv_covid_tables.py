"""The tables of raw BIMCV-COVID19+: patients, sessions, reports and third-party rotations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bimcvr.curation.sources.bimcv.rotations import PATTERN, read_rotations
from bimcvr.curation.sources.dicom_metadata import age_in_years
from bimcvr.curation.sources.table_reader import parse_list, read_table
from bimcvr.curation.study import SetAside
from bimcvr.data.text_table import present


@dataclass
class CovidTables:
    """The content of the tables.

    Attributes:
        reports: the cells of the labels tables, by session.
        evaluations: the text of the sessions tables (`medical_evaluation`), by session.
        people: sex and age, by subject.
        rotations: the type of the rotation, by series.
        set_aside: rows that could not be used.
    """

    reports: dict[str, dict[str, str]] = field(default_factory=dict)
    evaluations: dict[str, str] = field(default_factory=dict)
    people: dict[str, dict[str, str]] = field(default_factory=dict)
    rotations: dict[str, str] = field(default_factory=dict)
    set_aside: list[SetAside] = field(default_factory=list)


def read_tables(paths: Sequence[Path], tables: CovidTables) -> None:
    """Add the content of the tables among some files.

    Args:
        paths: the files; those that are no known tables are left out.
        tables: receives the content.
    """
    rotations, set_aside = read_rotations([path for path in paths if PATTERN.fullmatch(path.name)])
    tables.rotations |= rotations
    tables.set_aside += set_aside
    for path in paths:
        if path.name == "participants.tsv":
            _read_people(path, tables)
        elif path.name.endswith("_sessions.tsv"):
            _read_sessions(path, tables)
        elif path.parent.name == "labels" and path.suffix == ".tsv":
            _read_reports(path, tables)


def _read_people(path: Path, tables: CovidTables) -> None:
    table = read_table(path)
    tables.set_aside += table.set_aside
    for _, cells in table.rows:
        sex = cells.get("gender", "").strip()
        tables.people[cells.get("participant", "").strip()] = {
            "sex": sex if sex in ("F", "M") else "",
            "age": age_in_years(cells.get("age", "")),
        }


def _read_sessions(path: Path, tables: CovidTables) -> None:
    table = read_table(path)
    tables.set_aside += table.set_aside
    for line, cells in table.rows:
        session = present(cells.get("session_id", ""))
        try:
            text = "\n".join(parse_list(cells.get("medical_evaluation", "")))
        except ValueError as error:
            location = f"{path.name}: line {line}"
            tables.set_aside.append(
                SetAside(location, "unreadable_list", f"{location}, medical_evaluation: {error}. Its text is left out.")
            )
            continue
        if session and text:
            tables.evaluations[session] = text


def _read_reports(path: Path, tables: CovidTables) -> None:
    table = read_table(path)
    tables.set_aside += table.set_aside
    for line, cells in table.rows:
        session = present(cells.get("ReportID", ""))
        location = f"{path.name}: line {line}"
        if not session:
            tables.set_aside.append(
                SetAside(location, "no_key", f"{location} has no ReportID, so its report belongs to no session.")
            )
        elif session in tables.reports and tables.reports[session] != cells:
            tables.set_aside.append(
                SetAside(
                    location, "duplicate_row", f"{location}: {session} already has another report; the first was taken."
                )
            )
        else:
            tables.reports[session] = cells
