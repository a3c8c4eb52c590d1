"""What may leave the server: the public names of cases, the columns that may be shown, and messages without paths."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bimcvr.search.index.reader import Index

MOST_VALUES = 30
"""A column with at most so many values is shown on result cards and offered as a filter."""

LEAST_STUDIES = 5
"""In anonymous mode, how many studies at least must share each value of a column that is shown, or have a label."""

SEPARATE_COLUMNS = (
    "study_id", "report", "report_original", "labels", "volume", "sha256", "facts", "planted", "places"
)  # fmt: skip
"""Columns that a case shows elsewhere, or that no reader needs."""

_IDENTIFYING_COLUMNS = ("study_id", "patient_id", "report_id", "volume", "sha256")


class CaseNames:
    """The names by which clients know the studies: their ids, or opaque names that change with each server start.

    Args:
        anonymous: use opaque names.
    """

    def __init__(self, anonymous: bool) -> None:
        self.anonymous = anonymous
        self._key = secrets.token_bytes(16)

    def name_of(self, study_id: str) -> str:
        """Return the public name of a study."""
        if not self.anonymous:
            return study_id
        return hashlib.blake2b(study_id.encode(), key=self._key, digest_size=8).hexdigest()

    def lists_of(self, index: Index) -> str:
        """Return the name under which a browser keeps its lists of an index's cases.

        It holds as long as the names of the cases do, and says nothing of the index.
        """
        made = "|".join(str(index.facts.get(name, "")) for name in ("created", "split", "checkpoint_sha256"))
        return hashlib.blake2b(made.encode(), key=self._key if self.anonymous else b"", digest_size=8).hexdigest()


@dataclass(frozen=True)
class Visible:
    """What of a study may leave the server.

    Attributes:
        names: the public names of cases.
        columns: the columns that result cards may show, and their values with how many studies have each.
        series: fact of a series (`date`, `kernel`, …) → the column that may be shown and says it.
        patients: whether it may be told which cases are of one patient.
    """

    names: CaseNames
    columns: dict[str, dict[str, int]]
    series: dict[str, str]
    patients: bool


def filter_columns(index: Index, anonymous: bool) -> dict[str, dict[str, int]]:
    """Return the columns that are shown on result cards and offered as filters.

    In anonymous mode a column is left out if any of its values is shared by fewer than five studies: such a value
    points at them.

    Args:
        index: the index.
        anonymous: whether ids are hidden.

    Returns:
        Column → value → how many studies have it.
    """
    counts = {
        name: index.counts(name)
        for name in index.columns
        if name not in SEPARATE_COLUMNS and name not in _IDENTIFYING_COLUMNS
    }
    return {
        name: values
        for name, values in counts.items()
        if len(values) <= MOST_VALUES and (not anonymous or min(values.values(), default=0) >= LEAST_STUDIES)
    }


def without_paths(message: str, index: Path) -> str:
    """Return a message without the paths of the index's files and of uploads, in whatever form a library wrote them.

    Args:
        message: of an error.
        index: the index folder.
    """
    roots = {str(form) for path in (index, index.absolute(), index.resolve()) for form in (path, f"{path}"[1:])}
    # of the longest first: one form may be a part of another
    forms = sorted(filter(_tells, {*roots, *map(quote, roots)}), key=len, reverse=True)
    folder = "|".join(map(re.escape, forms)) or "(?!)"
    inside = rf"(?:(?:file://)?(?:{folder})/\S*?|[^\s'\"(<]*)"
    message = re.sub(inside + r"upload-\d+-\w+(?:/\w+(?:\.\w+)*)*", "the upload", message)
    return re.sub(rf" ?(?:file://)?(?:{folder})(?![\w-])(?:/\w+(?:[.-]+\w+)*)*", "", message)


def _tells(form: str) -> bool:
    """Return whether a form of a path is more than a single word, which a sentence may have too."""
    return "/" in form
