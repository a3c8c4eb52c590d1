"""The manifest: a CSV file with one row a volume, which describes a whole dataset."""

import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from bimcvr.atomic_files import replacing
from bimcvr.data.manifest_schema import COLUMNS
from bimcvr.data.text.entities import decode_entities
from bimcvr.data.text_table import UnreadableTable, is_missing, read_text_table
from bimcvr.errors import UserError
from bimcvr.suggest import nearest

REQUIRED = tuple(column.name for column in COLUMNS.values() if column.required)
SPLITS = COLUMNS["split"].allowed
# flags against a row's report: identical text then does not make two rows share a report
REPORT_FLAGS = ("report", "placeholder", "mismatch", "duplicate_report", "untranslated", "wrong_modality")
# those of them that say that the report belongs to another volume, or to none
ELSEWHERE_FLAGS = ("placeholder", "mismatch", "wrong_modality")

# columns in which the text `nan` or `None`, as programs write it for a missing value, would be a name
_BLANKED = ("patient_id", "report_id", "labels", "flags")
_MORE_CELLS = "A row has more cells than the header: quote reports that have commas, and end no row with a comma."


@dataclass(frozen=True)
class MadeLabels:
    """Labels that were made from the reports in memory, of a manifest that has none.

    Attributes:
        cells: of each row, as a cell of the column `labels`.
        rules: the name of the rules that made them, with a hash of them.
    """

    cells: tuple[str, ...]
    rules: str


@dataclass(frozen=True)
class Manifest:
    """A dataset: the rows of its manifest, in file order, and the folder of its volumes.

    Attributes:
        table: one row a volume; every cell is text, absent values are empty strings. The position of a
            row is its `index` in batches, metrics and embeddings.
        path: the CSV file.
        root: the folder that the `volume` column is relative to.
        made_labels: stand for the column `labels` of a manifest that has none; no part of `table`, of the identity of
            the content, or of what is written.
    """

    table: pd.DataFrame
    path: Path
    root: Path
    made_labels: MadeLabels | None = None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def digest(self) -> str:
        """Identity of the content: the first 16 hex digits of a sha256 over all cells."""
        text = self.table.to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def is_phantom(self) -> bool:
        """Whether any row is synthetic (its `source` is `phantom`)."""
        return "source" in self.table and bool((self.table["source"] == "phantom").any())

    @property
    def has_patients(self) -> bool:
        """Whether any row is not synthetic: a page or an API that shows the rows then shows patient data."""
        return "source" not in self.table or bool((self.table["source"] != "phantom").any())

    @property
    def labels_from(self) -> str:
        """Where the labels are from: the `column`, the `reports` and by which rules, or `none`."""
        if self.made_labels:
            return f"reports, by {self.made_labels.rules}"
        return "column" if any(self.column("labels")) else "none"

    @cached_property
    def labels_digest(self) -> str:
        """Identity of the labels, wherever they are from: 16 hex digits of a sha256 over them, row by row."""
        rows = [sorted(split_list(cell)) for cell in self.column("labels")]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def column(self, name: str) -> list[str]:
        """Return the N cells of a column; empty strings if the manifest does not have it."""
        if name == "labels" and self.made_labels:
            return list(self.made_labels.cells)
        if name not in self.table:
            return [""] * len(self)
        return cast(list[str], self.table[name].tolist())

    def cell(self, name: str, row: int) -> str:
        """Return one cell of a column; an empty string if the manifest does not have the column."""
        if name == "labels" and self.made_labels:
            return self.made_labels.cells[row]
        return str(self.table[name].iat[row]) if name in self.table else ""

    def volume_path(self, row: int) -> Path:
        """Return the path of a row's volume: a file or a DICOM folder."""
        return self.root / str(self.table["volume"].iloc[row])

    def accepted(self) -> np.ndarray:
        """Return the positions (n,) of the rows that take part (`status` empty or `ok`), ascending."""
        return np.flatnonzero([status in ("", "ok") for status in self.column("status")])

    def with_column(self, name: str, values: list[str]) -> "Manifest":
        """Return a copy with one column replaced or added."""
        made = None if name == "labels" else self.made_labels
        return replace(self, table=self.table.assign(**{name: values}), made_labels=made)


def split_list(cell: str) -> frozenset[str]:
    """Split a cell of `labels` or `flags` at its semicolons into stripped, non-empty items."""
    return frozenset(item.strip() for item in cell.split(COLUMNS["labels"].delimiter) if item.strip())


def normalised_text(report: str) -> str:
    """Return a report in lower case with single spaces, the form in which two reports are compared."""
    return " ".join(report.lower().split())


def read_manifest(path: str | Path, root: str | Path | None = None) -> Manifest:
    """Read a manifest and check it against the columns' schema (`manifest.schema.json`).

    Blanks around cells are removed, except in reports, whose HTML entities are decoded; `split` and `status` may be in
    capitals. A `patient_id`, `report_id`, `labels` or `flags` of `nan`, `None` or the like counts as empty, with a
    warning.

    Args:
        path: the CSV file in UTF-8, separated by commas, semicolons or tabs.
        root: the folder that `volume` is relative to; the manifest's own folder if None.

    Raises:
        UserError: the file, a required column or a required cell is missing, a row cannot be read for certain (such
            as an unclosed quotation mark), a column or study_id appears twice, or a split or status is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"There is no manifest at {path}. Give the path of a CSV file with the columns "
            f"{', '.join(REQUIRED)}; `python -m bimcvr phantom DIR` makes one to try."
        )
    table = _table_of(path)
    for name in set(table.columns) - {"report"}:
        table[name] = table[name].str.strip()
    for name in {"report", "report_original"}.intersection(table.columns):
        table[name] = table[name].map(decode_entities)
    for column in COLUMNS.values():
        if column.allowed and column.name in table:
            table[column.name] = table[column.name].str.lower()
    for name in _BLANKED:
        if name in table:
            table[name] = _without_missing(table[name], path)
    _check(table, path)
    return Manifest(table, path, Path(root) if root is not None else path.parent)


def write_manifest(table: pd.DataFrame, path: Path) -> None:
    """Write a manifest's rows as CSV, whole or not at all.

    Args:
        table: one row per volume, with the manifest's columns.
        path: the CSV file.
    """
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def report_keys(report_id: str, report: str, flags: str) -> list[tuple[str, str]]:
    """Return what a row's report is recognised by: two rows with a key in common share one report.

    Args:
        report_id: the row's cell.
        report: the row's report; a short text, or one with a flag against it, identifies nothing.
        flags: the row's cell.
    """
    text = normalised_text(report)
    sound = len(text.split()) >= 5 and not any(flag.startswith(REPORT_FLAGS) for flag in split_list(flags))
    return [*([("id", report_id)] if report_id else []), *([("text", text)] if sound else [])]


def report_groups(manifest: Manifest) -> np.ndarray:
    """Number the reports: rows with the same number share one report and are right answers for each other.

    Rows share a report if their `report_id` is the same, or if their normalised text is the same, has at least
    five words, and neither row has a flag against its report.

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
    for row, cells in enumerate(rows):
        for key in report_keys(*cells):
            parent[find(row)] = find(first.setdefault(key, row))
    return np.unique([find(row) for row in range(len(manifest))], return_inverse=True)[1].astype(np.int64)


def _table_of(path: Path) -> pd.DataFrame:
    """Read the cells; every row must be readable."""
    try:
        content = read_text_table(path, REQUIRED)
    except UnreadableTable as error:
        raise UserError(f"{path} cannot be read as a UTF-8 CSV file: it {error}.") from error
    if content.guessed_encoding:
        raise UserError(
            f"{path} cannot be read as a UTF-8 CSV file: it seems to be {content.guessed_encoding}. Save it as UTF-8."
        )
    if content.bad_rows:
        line, problem, _ = content.bad_rows[0]
        raise UserError(f"{path}, line {line} {problem}.")
    columns = [name or f"Unnamed: {position}" for position, name in enumerate(content.columns)]
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise UserError(f"{path} has the column '{repeated[0]}' twice. Remove or rename one.")
    absent = next((name for name in REQUIRED if name not in columns), None)
    if absent:
        raise _missing_column(pd.DataFrame(columns=columns, dtype=str), path, absent)
    too_long = next((line for line, cells in content.rows if len(cells) > len(columns)), None)
    if too_long:
        raise UserError(f"{path}, line {too_long} cannot be read. {_MORE_CELLS}")
    rows = [cells + [""] * (len(columns) - len(cells)) for _, cells in content.rows]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def _without_missing(cells: "pd.Series[str]", path: Path) -> "pd.Series[str]":
    """Empty the cells whose text stands for a missing value: they are not one patient, one report or one label."""
    missing = cells.map(is_missing) & (cells != "")
    if missing.any():
        warnings.warn(
            f"{path}: the {cells.name} of {missing.sum()} rows is '{cells[missing].iloc[0]}', which was read as empty.",
            stacklevel=3,
        )
    return cells.mask(missing, "")


def _check(table: pd.DataFrame, path: Path) -> None:
    """Hold a table against the schema: required columns, required cells, unique values, allowed values."""
    for name in REQUIRED:
        if name not in table:
            raise _missing_column(table, path, name)
    if table.empty:
        raise UserError(f"{path} has no rows: a manifest needs one row a volume.")
    columns = [column for column in COLUMNS.values() if column.name in table]
    for name in (column.name for column in columns if column.filled):
        empty = np.flatnonzero(table[name] == "")
        if len(empty):
            raise UserError(f"{path}, {_row(table, empty[0])}: '{name}' is empty. Every row needs one.")
    for name in (column.name for column in columns if column.unique):
        repeated = table[name][table[name].duplicated()]
        if len(repeated):
            rows = np.flatnonzero(table[name] == repeated.iloc[0]) + 1
            raise UserError(
                f"{path}: the {name} '{repeated.iloc[0]}' appears in rows {', '.join(map(str, rows))}. Each row "
                "needs its own: name two volumes of one examination like ses-1_run-1 and ses-1_run-2."
            )
    for column in columns:
        unknown = (
            np.flatnonzero(~table[column.name].isin([*column.allowed, ""]))
            if column.allowed
            else np.empty(0, dtype=np.int64)
        )
        if len(unknown):
            value = table[column.name].iloc[unknown[0]]
            # a cell in the wrong column may be part of a report, which must not be shown
            shown = f" '{value}'" if len(value) < 20 and " " not in value else ""
            raise UserError(
                f"{path}, {_row(table, unknown[0])}: the {column.name}{shown} is unknown. "
                f"Use one of {', '.join(column.allowed)}, or leave the cell empty."
            )


def _missing_column(table: pd.DataFrame, path: Path, name: str) -> UserError:
    match = nearest(name, table.columns)
    hint = f" (did you mean '{match}'? rename it)" if match else ""
    # without a header, the first row is taken for one: it has a report, which must not be shown
    names = [column for column in table.columns if column.isidentifier()]
    return UserError(
        f"{path} has no column '{name}'{hint}. Its first row must name the columns, and a manifest needs "
        f"{', '.join(REQUIRED)}; it has {', '.join(names) or 'none of them'}."
    )


def _row(table: pd.DataFrame, row: int) -> str:
    """Name a row by its number: reports of several lines make line numbers useless."""
    study = table["study_id"].iloc[row]
    return f"row {row + 1}" + (f" (study_id '{study}')" if study else "")
