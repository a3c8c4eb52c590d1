"""An index opened for reading: a snapshot that stays as it is, whatever a writer does meanwhile."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.data.manifest import split_list
from bimcvr.errors import UserError
from bimcvr.search.index.commit import NAME, Commit, hold_for_reading, read_commit
from bimcvr.search.index.exact_search import Vectors
from bimcvr.search.index.filters import parse_where
from bimcvr.search.index.lance_table import open_table, read_columns, word_scores
from bimcvr.search.index.prompt_vectors import load_prompts
from bimcvr.search.index.schema import GEOMETRY, LABELS, PLANES, SLOT, SOURCE, picture_column, stored

Stream = Literal["image", "report"]


@dataclass(frozen=True)
class IndexedStudy:
    """What the index holds of a study, pictures apart.

    Attributes:
        study_id: its name.
        cells: the manifest's row: column → text.
        labels: the findings that its report says are there, sorted.
        source: path of the volume, as it was when indexed.
        geometry: of the source grid (`native_size`, `native_spacing` in mm, …); empty where the volume was not read.
    """

    study_id: str
    cells: dict[str, str]
    labels: tuple[str, ...]
    source: str
    geometry: dict[str, Any]

    @property
    def report(self) -> str:
        """The report."""
        return self.cells["report"]

    @property
    def patient_id(self) -> str:
        """The patient, or empty."""
        return self.cells.get("patient_id", "")


class Index:
    """A snapshot of an index folder. Use `Index.open`, and close it, or use it in a `with` block.

    Studies have a place, 0 … N−1, in the order in which they were put in.

    Attributes:
        folder: where it lies.
        commit: what it consists of.
        study_ids: N names, by place.
    """

    def __init__(self, folder: Path, commit: Commit, held: int | None) -> None:
        self.folder, self.commit, self._held = folder, commit, held
        self._table = open_table(folder, commit.table_version)
        names = ["study_id", SLOT, LABELS, *(["patient_id"] if "patient_id" in commit.columns else [])]
        table = read_columns(self._table, names, with_row_id=True)
        slots = table.column(SLOT).to_numpy()
        order = np.argsort(slots)
        self._slots, self._row_ids = slots[order], table.column("_rowid").to_numpy()[order]
        texts = {name: table.column(name).to_pylist() for name in names if name != SLOT}
        self.study_ids: list[str] = [texts["study_id"][i] for i in order]
        self.labels: list[tuple[str, ...]] = [tuple(sorted(split_list(texts[LABELS][i]))) for i in order]
        patients = texts.get("patient_id") or [""] * len(order)
        self.patients: list[str] = [patients[i] or texts["study_id"][i] for i in order]
        self._places = {name: place for place, name in enumerate(self.study_ids)}
        self._columns: dict[str, tuple[list[str], np.ndarray]] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open what is committed of an index folder.

        Raises:
            UserError: there is no index, or it cannot be read.
        """
        folder = Path(folder)
        if not (folder / NAME).is_file():
            raise UserError(
                f"There is no index in {folder}. Make one: python -m bimcvr index --checkpoint … --manifest … --out"
                f" {folder}"
            )
        held = hold_for_reading(folder)
        try:
            commit = read_commit(folder)
            if commit is None:
                raise UserError(f"The index in {folder} has just gone.")
            return cls(folder, commit, held)
        except BaseException:
            if held is not None:
                os.close(held)
            raise

    def __len__(self) -> int:
        return len(self.study_ids)

    def __contains__(self, study_id: str) -> bool:
        return study_id in self._places

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files: a writer may then reclaim their space."""
        if self._held is not None:
            with contextlib.suppress(OSError):
                os.close(self._held)
            self._held = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the index says about itself.

        Model, encoders, checkpoint, manifest, split, phantom, has_patients, dim, created, commit.
        """
        own = {
            "studies": len(self),
            "dim": self.commit.dim,
            "complete": self.commit.complete,
            "phantom": self.is_phantom,
            "has_patients": self.has_patients,
        }
        return {**self.commit.facts, **own}

    @cached_property
    def is_phantom(self) -> bool:
        """Whether any study is synthetic: its row says so, whichever run put it in and however that run ended."""
        return "source" in self.commit.columns and "phantom" in self.counts("source")

    @cached_property
    def has_patients(self) -> bool:
        """Whether any study is not synthetic; an index without studies is taken to be for patients'."""
        return not self.is_phantom or self.counts("source")["phantom"] < len(self)

    @property
    def columns(self) -> list[str]:
        """What can be filtered by: the manifest's columns, and `labels`."""
        return list(dict.fromkeys([*self.commit.columns, "labels"]))

    @cached_property
    def prompts(self) -> Prompts | None:
        """The vectors of the keywords' prompts, where the index has them."""
        return load_prompts(self.folder / self.commit.prompts) if self.commit.prompts else None

    @cached_property
    def image(self) -> Vectors:
        """The volumes' unit vectors."""
        return self._vectors("image")

    @cached_property
    def text(self) -> Vectors:
        """The reports' unit vectors."""
        return self._vectors("text")

    def vectors(self, into: Stream) -> Vectors:
        """Return the unit vectors of the volumes or of the reports."""
        return self.image if into == "image" else self.text

    def place(self, study_id: str) -> int:
        """Return where a study stands.

        Raises:
            UserError: it is not in the index.
        """
        if study_id not in self._places:
            raise UserError(f"The index {self.folder} has no study '{study_id}'.")
        return self._places[study_id]

    def rows(self, places: Sequence[int]) -> list[IndexedStudy]:
        """Return the rows at some places, in that order."""
        wanted = [SLOT, LABELS, SOURCE, GEOMETRY, *map(stored, self.commit.columns)]
        found = {row[SLOT]: row for row in self._take(places, wanted)}
        return [self._row(found[int(self._slots[place])]) for place in places]

    def row(self, study_id: str) -> IndexedStudy:
        """Return a study's row.

        Raises:
            UserError: it is not in the index.
        """
        return self.rows([self.place(study_id)])[0]

    def thumbnails(self, study_id: str) -> dict[str, bytes]:
        """Return a study's pictures: axial, coronal, sagittal → JPEG; empty where its volume was not read.

        Raises:
            UserError: it is not in the index.
        """
        row = self._take([self.place(study_id)], [SLOT, *map(picture_column, PLANES)])[0]
        return {plane: row[picture_column(plane)] for plane in PLANES if row[picture_column(plane)]}

    def with_pictures(self) -> int:
        """Return how many studies have pictures."""
        column: Any = read_columns(self._table, [GEOMETRY]).column(GEOMETRY)
        return sum(bool(cell) for cell in column.to_pylist())

    def mask(self, where: str | Sequence[str]) -> np.ndarray | None:
        """Return which studies a filter lets through, (N,) bool; None where it is empty.

        Args:
            where: as `filters.parse_where`.

        Raises:
            UserError: it is no filter, or names no column.
        """
        conditions = parse_where(where, self.columns)
        if not conditions:
            return None
        mask = np.ones(len(self), dtype=bool)
        for condition in conditions:
            values, of = self._distinct(condition.column)
            mask &= condition.holds(values)[of]
        return mask

    def label_counts(self) -> dict[str, int]:
        """Return how many studies' labels hold each label, the most frequent first."""
        return self._label_counts

    @cached_property
    def _label_counts(self) -> dict[str, int]:
        counts = Counter(label for row in self.labels for label in row)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def counts(self, column: str) -> dict[str, int]:
        """Return how many studies have each distinct cell of a column, the most frequent first."""
        cells = read_columns(self._table, [LABELS if column == "labels" else stored(column)]).column(0)
        counted: Counter[str] = Counter()
        for item in cells.value_counts().to_pylist():
            counted[item["values"] or ""] += item["counts"]
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def word_ranks(self, words: str, allowed: np.ndarray | None = None) -> list[tuple[int, float]]:
        """Return place and BM25 score of the reports that hold some of the words, best first, ties by study id."""
        table = word_scores(self._table, words, SLOT)
        places = np.searchsorted(self._slots, table.column(SLOT).to_numpy())
        scores = table.column("_score").to_numpy().astype(np.float64)
        if allowed is not None:
            open_ones = allowed[places]
            places, scores = places[open_ones], scores[open_ones]
        best = np.lexsort((self.order[places], -scores))
        return [(int(places[i]), float(scores[i])) for i in best]

    def holds_word(self, word: str) -> bool:
        """Return whether any report holds a word, in any of its forms."""
        return bool(word_scores(self._table, word, SLOT, 1).num_rows)

    @cached_property
    def order(self) -> np.ndarray:
        """(N,) int64: each study's place among all ids in order; it decides ties."""
        order = np.empty(len(self), dtype=np.int64)
        order[np.argsort(np.array(self.study_ids, dtype=np.str_), kind="stable")] = np.arange(len(self))
        return order

    def _vectors(self, stream: str) -> Vectors:
        shape = (self.commit.slots, self.commit.dim)
        path = self.commit.vectors(self.folder, stream)
        if not self.commit.slots:
            return Vectors(np.empty(shape, dtype=np.float32), self._slots, self.order)
        try:
            # copy on write: torch takes no read-only memory, and nothing is ever written
            values = np.memmap(path, dtype="<f4", mode="c", shape=shape)
        except (OSError, ValueError) as error:
            raise UserError(
                f"The vectors {path} are absent or cut short. Make the index anew in another folder."
            ) from error
        return Vectors(values, self._slots, self.order)

    def _take(self, places: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        if not len(places):
            return []
        ids = [int(self._row_ids[place]) for place in places]
        rows: list[dict[str, Any]] = self._table.take_row_ids(ids).select(list(columns)).to_arrow().to_pylist()
        return rows

    def _row(self, found: dict[str, Any]) -> IndexedStudy:
        cells = {name: found[stored(name)] or "" for name in self.commit.columns}
        geometry = json.loads(found[GEOMETRY]) if found[GEOMETRY] else {}
        return IndexedStudy(
            cells["study_id"], cells, tuple(sorted(split_list(found[LABELS] or ""))), found[SOURCE] or "", geometry
        )

    def _distinct(self, column: str) -> tuple[list[str], np.ndarray]:
        """Return a column's distinct cells, and for each place which of them it holds."""
        if column not in self._columns:
            name = LABELS if column == "labels" else stored(column)
            table = read_columns(self._table, [SLOT, name])
            cells = np.array([cell or "" for cell in table.column(name).to_pylist()], dtype=object)
            codes = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
            of = np.array([codes[cell] for cell in cells[np.argsort(table.column(SLOT).to_numpy())]], dtype=np.int64)
            self._columns[column] = (list(codes), of)
        return self._columns[column]
