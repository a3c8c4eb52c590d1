"""What a manifest says of a study's series: its date, kernel, slice thickness and contrast medium."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

# names as `curate` writes them, DICOM's keywords, and what other tables have, all in small letters without _ and blanks
_NAMES = {
    "date": ("studydate", "date", "seriesdate", "acquisitiondate", "scandate", "examdate"),
    "kernel": ("kernel", "convolutionkernel"),
    "thickness": ("slicethickness", "slicethicknessmm", "thickness"),
    "contrast": ("contrastagent", "contrastbolusagent", "contrast"),
}
# a year alone, or 31/03/2020 (or is it 03/04?), is no date: nothing is guessed
_DATE = re.compile(r"(\d{4})(?:-(\d{2})-(\d{2})|(\d{2})(\d{2}))(?:$|[T ])")


@dataclass(frozen=True)
class SeriesFacts:
    """What a manifest's row says of its series; empty where it says nothing.

    Attributes:
        date: of the study, as the row has it.
        day: the same day as 2020-03-31; empty where the cell is not for certain a date.
        kernel: of the reconstruction.
        thickness: of a slice, mm.
        contrast: the contrast medium.
    """

    date: str = ""
    day: str = ""
    kernel: str = ""
    thickness: str = ""
    contrast: str = ""


def series_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return which of a manifest's columns has each fact, of those that it has.

    Example:
        >>> series_columns(["study_id", "StudyDate", "kernel"])
        {'date': 'StudyDate', 'kernel': 'kernel'}
    """
    known = {re.sub(r"[_ ]", "", name).lower(): name for name in reversed(list(columns))}
    return {
        fact: next(known[name] for name in names if name in known)
        for fact, names in _NAMES.items()
        if any(name in known for name in names)
    }


def series_facts(cells: Mapping[str, str], columns: Mapping[str, str]) -> SeriesFacts:
    """Return the facts of a row.

    Args:
        cells: column → text.
        columns: fact → column, as `series_columns` returns it.
    """
    found = {fact: cells.get(column, "") for fact, column in columns.items()}
    return SeriesFacts(day=day_of(found.get("date", "")), **found)


def day_of(cell: str) -> str:
    """Return a date as 2020-03-31; empty where a cell is not for certain one.

    Example:
        >>> day_of("20200331"), day_of("2020-03-31T08:00:00"), day_of("31/03/2020")
        ('2020-03-31', '2020-03-31', '')
    """
    match = _DATE.match(cell.strip())
    if match is None:
        return ""
    numbers = [int(number) for number in match.groups() if number is not None]
    try:
        return date(*numbers).isoformat()
    except ValueError:
        return ""


def days_between(earlier: str, later: str) -> int | None:
    """Return how many days lie between two days as `day_of` returns them; None where one is unknown."""
    if not earlier or not later:
        return None
    return (date.fromisoformat(later) - date.fromisoformat(earlier)).days
