"""The columns of the LanceDB table, and how a study becomes a row of it."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bimcvr.data.slice_pictures import PLANES
from bimcvr.errors import UserError

_PREFIX = "bimcvr_"
SLOT, CELLS_HASH, VOLUME_HASH, SOURCE, LABELS, GEOMETRY = (
    _PREFIX + name for name in ("slot", "cells_hash", "volume_hash", "source", "labels", "geometry")
)
# replaces the full stop, which column names of the table cannot contain
_DOT = "\u2024"
# names that Lance reads as something else: its own columns, all columns, and what it quotes names with
_SPECIAL = re.compile(rf"_row.*|_score|_distance|_relevance_score|\*|.*[`{_DOT}].*", re.DOTALL)


@dataclass(frozen=True)
class StudyRecord:
    """One study as it is put into an index.

    Attributes:
        cells: the manifest's row: column → text; with study_id, volume and report.
        image: (E,) the volume's vector, of any norm but zero.
        text: (E,) the report's vector, likewise.
        labels: the findings that the report says are present.
        source: path of the volume.
        geometry: of the source grid; empty where the volume was not read.
        thumbnails: plane → JPEG; empty where the volume was not read.
        cells_hash: identifies the content of `cells`.
        volume_hash: identifies the content of the volume.
    """

    cells: dict[str, str]
    image: np.ndarray
    text: np.ndarray
    labels: Sequence[str] = ()
    source: str = ""
    geometry: dict[str, Any] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    cells_hash: str = ""
    volume_hash: str = ""


@dataclass(frozen=True)
class IndexedStudy:
    """A study as the index has it, without its thumbnails.

    Attributes:
        study_id: its id.
        cells: the manifest's row: column → text.
        labels: the findings that its report says are present, sorted.
        source: path of the volume when it was indexed.
        geometry: of the source grid (`native_size`, `native_spacing` in mm, …); empty where the volume was not read.
    """

    study_id: str
    cells: dict[str, str]
    labels: tuple[str, ...]
    source: str
    geometry: dict[str, Any]

    @property
    def report(self) -> str:
        """The text of the report."""
        return self.cells["report"]

    @property
    def patient_id(self) -> str:
        """The patient's id, or empty."""
        return self.cells.get("patient_id", "")


def check_columns(columns: Iterable[str]) -> None:
    """Refuse columns that an index cannot have.

    Args:
        columns: of the manifest.

    Raises:
        UserError: a column has a name that the index uses itself.
    """
    for name in columns:
        if name.startswith(_PREFIX):
            raise UserError(f"The manifest's column '{name}' has a name that the index uses itself. Rename it.")


def schema_of(columns: Sequence[str]) -> Any:
    """Return the arrow schema of the table.

    Args:
        columns: of the manifest.

    Returns:
        The schema: the manifest's columns as text, and the index's own.

    Raises:
        UserError: a column has a name that the index uses itself.
    """
    import pyarrow as pa

    check_columns(columns)
    fields = [pa.field(stored_name(name), pa.string()) for name in columns]
    fields += [pa.field(SLOT, pa.int64())]
    fields += [pa.field(name, pa.string()) for name in (CELLS_HASH, VOLUME_HASH, SOURCE, LABELS, GEOMETRY)]
    fields += [pa.field(_PREFIX + plane, pa.binary()) for plane in PLANES]
    return pa.schema(fields)


def arrow_rows(studies: Sequence[StudyRecord], first_slot: int, columns: Sequence[str]) -> Any:
    """Return studies as an arrow table.

    Args:
        studies: the studies.
        first_slot: the slot of the first one's vectors; the others follow.
        columns: of the manifest.

    Returns:
        The table, in the schema of `schema_of`.
    """
    import pyarrow as pa

    values: dict[str, list[Any]] = {
        stored_name(name): [study.cells.get(name, "") for study in studies] for name in columns
    }
    values[SLOT] = list(range(first_slot, first_slot + len(studies)))
    values[CELLS_HASH] = [study.cells_hash for study in studies]
    values[VOLUME_HASH] = [study.volume_hash for study in studies]
    values[SOURCE] = [study.source for study in studies]
    values[LABELS] = [";".join(study.labels) for study in studies]
    values[GEOMETRY] = [json.dumps(study.geometry) if study.geometry else "" for study in studies]
    for plane in PLANES:
        values[_PREFIX + plane] = [study.thumbnails.get(plane) for study in studies]
    return pa.table(values, schema=schema_of(columns))


def stored_name(column: str) -> str:
    """Return the name that a manifest column has in the table."""
    if _SPECIAL.fullmatch(column):
        return f"{_PREFIX}column_{column.encode().hex()}"
    return column.replace(".", _DOT)


def thumbnail_column(plane: str) -> str:
    """Return the name of the table column with a plane's thumbnails."""
    return _PREFIX + plane
