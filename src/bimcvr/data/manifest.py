"""The manifest: one CSV row a volume, the one description of a dataset."""

import difflib
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from bimcvr.atomic_files import replacing
from bimcvr.errors import UserError

REQUIRED = ("study_id", "volume", "report")
SPLITS = ("train", "val", "test")
STATUSES = ("ok", "rejected", "review")
# flags that say something against a row's report: its text then proves nothing about another row
REPORT_FLAGS = ("report", "placeholder", "mismatch", "duplicate_report", "untranslated", "wrong_modality")
# those of them by which a row's report is not its volume's at all
ELSEWHERE_FLAGS = ("placeholder", "mismatch", "wrong_modality")

_MORE_CELLS = "A row has more cells than the header: put reports with commas into quotes, and end no row with a comma."


@dataclass(frozen=True)
class Manifest:
    """A dataset: its rows, in file order, and where their volumes lie.

    Attributes:
        table: one row a volume; every column is text, absent values are empty strings. The row's
            position is its `index` in batches, metrics and embeddings.
        path: the CSV file.
        root: the folder that the `volume` column is relative to.
    """

    table: pd.DataFrame
    path: Path
    root: Path

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def digest(self) -> str:
        """The identity of the content: the first 16 hex digits of a sha256 over all cells."""
        text = self.table.to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def is_phantom(self) -> bool:
        """Whether any row is synthetic (its `source` is `phantom`)."""
        return "source" in self.table and bool((self.table["source"] == "phantom").any())

    @property
    def has_patients(self) -> bool:
        """Whether any row is not synthetic: what shows the rows then shows patient data."""
        return "source" not in self.table or bool((self.table["source"] != "phantom").any())

    def column(self, name: str) -> list[str]:
        """Return a column as text, empty strings where it is absent."""
        if name not in self.table:
            return [""] * len(self)
        return cast(list[str], self.table[name].tolist())

    def volume_path(self, row: int) -> Path:
        """Return the path of a row's volume: a file or a DICOM folder."""
        return self.root / str(self.table["volume"].iloc[row])

    def accepted(self) -> np.ndarray:
        """Return the positions of the rows that are not set aside (`status` empty or `ok`)."""
        return np.flatnonzero([status in ("", "ok") for status in self.column("status")])

    def with_column(self, name: str, values: list[str]) -> "Manifest":
        """Return a copy with one column replaced or added."""
        return Manifest(self.table.assign(**{name: values}), self.path, self.root)


def split_list(cell: str) -> frozenset[str]:
    """Split a `;`-separated cell into its stripped, non-empty items."""
    return frozenset(item.strip() for item in cell.split(";") if item.strip())


def normalised_text(report: str) -> str:
    """Return a report in lower case with single spaces: how two reports are compared."""
    return " ".join(report.lower().split())


def read_manifest(path: str | Path, root: str | Path | None = None) -> Manifest:
    """Read and check a manifest.

    Blanks around cells go, except in reports; `split` and `status` may be in capitals.

    Args:
        path: the CSV file (UTF-8).
        root: the folder that `volume` is relative to; the manifest's own folder if None.

    Raises:
        UserError: the file, a column or a study_id is missing, a study_id stands twice, or a split or status is
            unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"There is no manifest at {path}. Give the path of a CSV file with the columns "
            f"{', '.join(REQUIRED)}; `python -m bimcvr phantom DIR` makes one to try."
        )
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.readline()
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if mark in head and "," not in head:
            raise UserError(
                f"{path} is separated by {name}; a manifest needs commas. Save it again as comma-separated CSV."
            )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        hint = f". {_MORE_CELLS}" if "Expected" in str(error) else ""
        raise UserError(f"{path} cannot be read as a UTF-8 CSV file: {str(error).strip()}{hint}") from error
    # pandas takes the first column for row names where rows are longer than the header
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{path} cannot be read as a UTF-8 CSV file. {_MORE_CELLS}")
    table = table.fillna("").rename(columns=str.strip)
    if table.columns.has_duplicates:
        raise UserError(
            f"{path} has the column '{table.columns[table.columns.duplicated()][0]}' twice. Remove or rename one."
        )
    for name in set(table.columns) - {"report"}:
        table[name] = table[name].str.strip()
    for name in {"split", "status"} & set(table.columns):
        table[name] = table[name].str.lower()
    _check(table, path)
    return Manifest(table, path, Path(root) if root is not None else path.parent)


def write_manifest(table: pd.DataFrame, path: Path) -> None:
    """Write a manifest's rows as CSV, whole or not at all."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def report_groups(manifest: Manifest) -> np.ndarray:
    """Number the rows so that rows with the same number share one report, that is one right answer.

    Rows share a report if their `report_id` is the same, or their normalised text is the same, has at least
    five words and bears no flag against the report.

    Returns:
        int64 (N,): a group number a row.
    """
    parent = list(range(len(manifest)))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[tuple[str, str], int] = {}
    rows = zip(manifest.column("report_id"), manifest.column("report"), manifest.column("flags"), strict=True)
    for row, (report_id, report, flags) in enumerate(rows):
        text = normalised_text(report)
        sound = len(text.split()) >= 5 and not any(flag.startswith(REPORT_FLAGS) for flag in split_list(flags))
        keys = [("id", report_id)] if report_id else []
        keys += [("text", text)] if sound else []
        for key in keys:
            parent[find(row)] = find(first.setdefault(key, row))
    return np.unique([find(row) for row in range(len(manifest))], return_inverse=True)[1].astype(np.int64)


def _check(table: pd.DataFrame, path: Path) -> None:
    for name in REQUIRED:
        if name not in table:
            near = difflib.get_close_matches(name, list(table.columns), n=1, cutoff=0.5)
            hint = f" (is it the column '{near[0]}'? rename it)" if near else ""
            # where the header is absent, its place is taken by a report, which must not be shown
            named = [column for column in table.columns if column.isidentifier()]
            raise UserError(
                f"{path} has no column '{name}'{hint}. Its first row must name the columns, and a manifest needs "
                f"{', '.join(REQUIRED)}; it has {', '.join(named) or 'none of them'}."
            )
    if table.empty:
        raise UserError(f"{path} has no rows: a manifest needs one row a volume.")
    for name in ("study_id", "volume"):
        empty = np.flatnonzero(table[name] == "")
        if len(empty):
            raise UserError(f"{path}, {_row(table, empty[0])}: '{name}' is empty. Every row needs one.")
    twice = table["study_id"][table["study_id"].duplicated()]
    if len(twice):
        rows = np.flatnonzero(table["study_id"] == twice.iloc[0]) + 1
        raise UserError(
            f"{path}: the study_id '{twice.iloc[0]}' stands in rows {', '.join(map(str, rows))}. Each row "
            "needs its own: name two volumes of one examination like ses-1_run-1 and ses-1_run-2."
        )
    for name, known in (("split", SPLITS), ("status", STATUSES)):
        unknown = np.flatnonzero(~table[name].isin([*known, ""])) if name in table else np.empty(0, dtype=np.int64)
        if len(unknown):
            value = table[name].iloc[unknown[0]]
            # cells out of place may be a report's
            shown = f" '{value}'" if len(value) < 20 and " " not in value else ""
            raise UserError(
                f"{path}, {_row(table, unknown[0])}: the {name}{shown} is unknown. "
                f"Use one of {', '.join(known)}, or leave the cell empty."
            )


def _row(table: pd.DataFrame, row: int) -> str:
    """Name a row as a user finds it: reports of several lines make line numbers useless."""
    study = table["study_id"].iloc[row]
    return f"row {row + 1}" + (f" (study_id '{study}')" if study else "")
