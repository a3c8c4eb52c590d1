"""An index opened for reading: a snapshot that does not change, whatever a writer does meanwhile."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.data.manifest import split_list
from bimcvr.data.slice_pictures import PLANES
from bimcvr.errors import UserError
from bimcvr.search.index.commit import NAME, Commit, hold_for_reading, read_commit
from bimcvr.search.index.exact_search import Vectors
from bimcvr.search.index.filters import parse_where
from bimcvr.search.index.lance_table import open_table, read_columns, telling_damage, word_scores
from bimcvr.search.index.prompt_vectors import load_prompts
from bimcvr.search.index.schema import (
    GEOMETRY,
    LABELS,
    SLOT,
    SOURCE,
    IndexedStudy,
    stored_name,
    thumbnail_column,
)

Stream = Literal["image", "report"]

_LENGTH = 1e-3
"""How far a stored vector's length may be from 1."""
_BLOCK = 16384


class Index:
    """A snapshot of an index folder: open it with `Index.open`, in a `with` block, or close it.

    Studies have positions 0 … N-1, in the order in which they were added.

    Args:
        folder: the index folder.
        commit: the committed state to open.
        lock: the open file that keeps a writer from deleting this state; None without one.
        case_name: gives the name of a study by whose order ties are broken; by default its id.
        label_studies: how many studies at least must have a label; the index is as if others had never been given.

    Attributes:
        folder: the index folder.
        commit: the committed state that is open.
        study_ids: N ids, by position.
        labels: N tuples of labels, by position.
        patients: N patient ids, by position; a study's own id where it has none.
    """

    def __init__(
        self,
        folder: Path,
        commit: Commit,
        lock: int | None,
        case_name: Callable[[str], str] = str,
        label_studies: int = 1,
    ) -> None:
        self.folder, self.commit, self._lock = folder, commit, lock
        self._case_name, self._label_studies = case_name, label_studies
        self._table = open_table(folder, commit.table_version)
        with telling_damage(folder):
            self._read_rows(commit)
        self._positions = {name: position for position, name in enumerate(self.study_ids)}
        self._columns: dict[str, tuple[list[str], np.ndarray]] = {}

    def _read_rows(self, commit: Commit) -> None:
        names = ["study_id", SLOT, LABELS, *(["patient_id"] if "patient_id" in commit.columns else [])]
        table = read_columns(self._table, names, with_row_id=True)
        slots = table.column(SLOT).to_numpy()
        order = np.argsort(slots)
        self._slots, self._row_ids = slots[order], table.column("_rowid").to_numpy()[order]
        # through objects of numpy: a million names as a list in a tenth of the time that arrow's own lists take
        self.study_ids: list[str] = table.column("study_id").to_numpy()[order].tolist()
        lists = table.column(LABELS).combine_chunks().dictionary_encode()  # few differ
        rows, number = np.unique(lists.indices.to_numpy(), return_counts=True)
        labels = {row: split_list(lists.dictionary[int(row)].as_py()) for row in rows}
        counts: Counter[str] = Counter()
        for row, often in zip(rows, number.tolist(), strict=True):
            counts.update(dict.fromkeys(labels[row], often))
        self._hidden_labels = {label for label, number in counts.items() if number < self._label_studies}
        shown = {row: tuple(sorted(set(labels[row]) - self._hidden_labels)) for row in rows}
        self.labels: list[tuple[str, ...]] = [shown[row] for row in lists.indices.to_numpy()[order].tolist()]
        known = table.column("patient_id").to_numpy()[order] if "patient_id" in names else [""] * len(order)
        self.patients: list[str] = [patient or study for patient, study in zip(known, self.study_ids, strict=True)]
        if len(self.study_ids) != commit.count or len(np.unique(slots)) < len(slots):
            raise ValueError(f"index.json says {commit.count} studies, the rows are {len(np.unique(slots))}")

    @classmethod
    def open(cls, folder: str | Path, case_name: Callable[[str], str] = str, label_studies: int = 1) -> Self:
        """Open the committed state of an index folder.

        Args:
            folder: the index folder.
            case_name: as of the class.
            label_studies: as of the class.

        Returns:
            The open index.

        Raises:
            UserError: there is no index, or it cannot be read.
        """
        folder = Path(folder)
        if not (folder / NAME).is_file():
            raise UserError(
                f"There is no index in {folder}. Make one: python -m bimcvr index --checkpoint … --manifest … --out"
                f" {folder}"
            )
        lock = hold_for_reading(folder)
        try:
            commit = read_commit(folder)
            if commit is None:
                raise UserError(f"The index in {folder} has just been deleted.")
            return cls(folder, commit, lock, case_name, label_studies)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    def __len__(self) -> int:
        return len(self.study_ids)

    def __contains__(self, study_id: str) -> bool:
        return study_id in self._positions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files: a writer may then erase them."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)
            self._lock = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the index says about itself: checkpoint, encoders, manifest, split, dates, numbers of studies."""
        current = {
            "studies": len(self),
            "dim": self.commit.dim,
            "complete": self.commit.complete,
            "phantom": self.is_phantom,
            "has_patients": self.has_patients,
        }
        return {**self.commit.facts, **current}

    @cached_property
    def is_phantom(self) -> bool:
        """Whether any study is synthetic, according to the `source` column of its row."""
        return "source" in self.commit.columns and "phantom" in self.counts("source")

    @cached_property
    def has_patients(self) -> bool:
        """Whether any study is not synthetic; an empty index counts as one for patient data."""
        return not self.is_phantom or self.counts("source")["phantom"] < len(self)

    @property
    def columns(self) -> list[str]:
        """The columns that a filter may name: the manifest's, and `labels`."""
        return list(dict.fromkeys([*self.commit.columns, "labels"]))

    @cached_property
    def prompts(self) -> Prompts | None:
        """The vectors of the keywords' prompts, if the index has them."""
        if not self.commit.prompts:
            return None
        return load_prompts(self.folder / self.commit.prompts).without(self._hidden_labels)

    @cached_property
    def image(self) -> Vectors:
        """The volumes' unit vectors."""
        return self._vectors("image")

    @cached_property
    def text(self) -> Vectors:
        """The reports' unit vectors."""
        return self._vectors("text")

    def vectors(self, into: Stream) -> Vectors:
        """Return the unit vectors of the volumes (`image`) or of the reports (`report`)."""
        return self.image if into == "image" else self.text

    def position(self, study_id: str) -> int:
        """Return the position of a study.

        Args:
            study_id: the study.

        Returns:
            0 … N-1.

        Raises:
            UserError: it is not in the index.
        """
        if study_id not in self._positions:
            raise UserError(f"The index {self.folder} has no study '{study_id}'.")
        return self._positions[study_id]

    def rows(self, positions: Sequence[int]) -> list[IndexedStudy]:
        """Return the studies at some positions, in that order."""
        wanted = [SLOT, SOURCE, GEOMETRY, *map(stored_name, self.commit.columns)]
        by_slot = {row[SLOT]: row for row in self._take(positions, wanted)}
        return [self._study(by_slot[int(self._slots[position])]) for position in positions]

    def row(self, study_id: str) -> IndexedStudy:
        """Return a study.

        Args:
            study_id: the study.

        Returns:
            The study.

        Raises:
            UserError: it is not in the index.
        """
        return self.rows([self.position(study_id)])[0]

    def thumbnails(self, study_id: str) -> dict[str, bytes]:
        """Return a study's thumbnails.

        Args:
            study_id: the study.

        Returns:
            `axial`, `coronal`, `sagittal` → JPEG; empty where the volume was not read.

        Raises:
            UserError: it is not in the index.
        """
        row = self._take([self.position(study_id)], [SLOT, *map(thumbnail_column, PLANES)])[0]
        return {plane: row[thumbnail_column(plane)] for plane in PLANES if row[thumbnail_column(plane)]}

    def count_with_thumbnails(self) -> int:
        """Return how many studies have thumbnails."""
        with telling_damage(self.folder):
            column: Any = read_columns(self._table, [GEOMETRY]).column(GEOMETRY)
        return sum(bool(cell) for cell in column.to_pylist())

    def mask(self, where: str | Sequence[str]) -> np.ndarray | None:
        """Return which studies pass a filter.

        Args:
            where: the filter, as `filters.parse_where` takes it.

        Returns:
            (N,) bool; None where the filter is empty.

        Raises:
            UserError: it is not a filter, or names an unknown column.
        """
        conditions = parse_where(where, self.columns)
        if not conditions:
            return None
        mask = np.ones(len(self), dtype=bool)
        for condition in conditions:
            values, codes = self.distinct(condition.column)
            mask &= condition.holds(values)[codes]
        return mask

    def label_counts(self) -> dict[str, int]:
        """Return how many studies have each label, the most frequent first."""
        return self._label_counts

    @cached_property
    def _label_counts(self) -> dict[str, int]:
        counts = Counter(label for row in self.labels for label in row)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def counts(self, column: str) -> dict[str, int]:
        """Return how many studies have each distinct value of a column, the most frequent first."""
        with telling_damage(self.folder):
            cells = read_columns(self._table, [LABELS if column == "labels" else stored_name(column)]).column(0)
        counted: Counter[str] = Counter()
        for item in cells.value_counts().to_pylist():
            counted[item["values"] or ""] += item["counts"]
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def word_ranks(self, words: str, allowed: np.ndarray | None = None) -> list[tuple[int, float]]:
        """Rank the reports that contain any of some words.

        Args:
            words: the words.
            allowed: (N,) bool, the studies that may be returned; None for all.

        Returns:
            Position and BM25 score, best first, ties by `order`.
        """
        with telling_damage(self.folder):
            table = word_scores(self._table, words, SLOT)
        positions = np.searchsorted(self._slots, table.column(SLOT).to_numpy())
        scores = table.column("_score").to_numpy().astype(np.float64)
        if allowed is not None:
            passing = allowed[positions]
            positions, scores = positions[passing], scores[passing]
        best = np.lexsort((self.order[positions], -scores))
        return [(int(positions[i]), float(scores[i])) for i in best]

    def has_word(self, word: str) -> bool:
        """Return whether any report contains a word, in any of its inflections."""
        with telling_damage(self.folder):
            return bool(word_scores(self._table, word, SLOT, 1).num_rows)

    @cached_property
    def order(self) -> np.ndarray:
        """(N,) int64, the rank of each study's name among all names in sorted order; it breaks ties."""
        order = np.empty(len(self), dtype=np.int64)
        names = np.array([self._case_name(study) for study in self.study_ids], dtype=np.str_)
        order[np.argsort(names, kind="stable")] = np.arange(len(self))
        return order

    def _vectors(self, stream: str) -> Vectors:
        shape = (self.commit.slots, self.commit.dim)
        path = self.commit.vector_file(self.folder, stream)
        if not self.commit.slots:
            return Vectors(np.empty(shape, dtype=np.float32), self._slots, self.order)
        try:
            # copy on write, because torch does not take read-only memory; nothing is ever written
            values = np.memmap(path, dtype="<f4", mode="c", shape=shape)
        except (OSError, ValueError) as error:
            raise UserError(
                f"The vectors {path} are missing, truncated or may not be read. Make a new index in another folder."
            ) from error
        fault = self._vector_fault(values)
        if fault:
            raise UserError(
                f"The vectors {path} are damaged ({fault}): its answers would be wrong. Make a new index in another"
                " folder."
            )
        return Vectors(values, self._slots, self.order)

    def _vector_fault(self, values: np.ndarray) -> str:
        """Return what is wrong with the vectors that belong to a study, read block by block; empty if nothing is."""
        if len(self._slots) and (self._slots[0] < 0 or self._slots[-1] >= len(values)):
            return f"a row's vector is the {self._slots[-1]}th of {len(values)}"
        for start in range(0, len(self._slots), _BLOCK):
            block = values[self._slots[start : start + _BLOCK]]
            length = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
            bad = np.flatnonzero(~(np.abs(length - 1) <= _LENGTH))  # so asked, NaN is bad
            if len(bad):
                return f"that of study {self.study_ids[start + bad[0]]} has the length {length[bad[0]]:.3g}, not 1"
        return ""

    def _take(self, positions: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        if not len(positions):
            return []
        ids = [int(self._row_ids[position]) for position in positions]
        with telling_damage(self.folder):
            rows: list[dict[str, Any]] = self._table.take_row_ids(ids).select(list(columns)).to_arrow().to_pylist()
        return rows

    def _study(self, row: dict[str, Any]) -> IndexedStudy:
        cells = {name: row[stored_name(name)] or "" for name in self.commit.columns}
        with telling_damage(self.folder):
            geometry = json.loads(row[GEOMETRY]) if row[GEOMETRY] else {}
        labels = self.labels[self._positions[cells["study_id"]]]
        return IndexedStudy(cells["study_id"], cells, labels, row[SOURCE] or "", geometry)

    def distinct(self, column: str) -> tuple[list[str], np.ndarray]:
        """Return a column's distinct cells, and (N,) int32 codes: which of them each study has."""
        if column not in self._columns:
            cells = list(map(";".join, self.labels)) if column == "labels" else self._cells(column)
            code_of = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
            self._columns[column] = (list(code_of), np.array([code_of[cell] for cell in cells], dtype=np.int32))
        return self._columns[column]

    def _cells(self, column: str) -> list[str]:
        """Return a column's cell of each study, by position."""
        name = stored_name(column)
        with telling_damage(self.folder):
            table = read_columns(self._table, [SLOT, name])
        cells = table.column(name).to_pylist()
        return [cells[i] or "" for i in np.argsort(table.column(SLOT).to_numpy())]
