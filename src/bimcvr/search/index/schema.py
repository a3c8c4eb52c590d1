"""The rows of an index: how a manifest's row stands in the LanceDB table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bimcvr.errors import UserError

PLANES = ("axial", "coronal", "sagittal")
_OWN = "bimcvr_"
SLOT, CELLS_HASH, VOLUME_HASH, SOURCE, LABELS, GEOMETRY = (
    _OWN + name for name in ("slot", "cells_hash", "volume_hash", "source", "labels", "geometry")
)
_DOT = "\u2024"  # a column of the table cannot have a full stop in its name


@dataclass(frozen=True)
class StudyRecord:
    """One study to be put into an index.

    Attributes:
        cells: the manifest's row: column → text; study_id, volume and report among them.
        image: (E,) the volume's vector, of any length.
        text: (E,) the report's vector.
        labels: the findings that the report says are there.
        source: path of the volume.
        geometry: of the source grid; empty where the volume was not read.
        thumbnails: plane → JPEG; empty where the volume was not read.
        cells_hash: identity of the cells.
        volume_hash: identity of the volume.
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


def schema_of(columns: Sequence[str]) -> Any:
    """Return the arrow schema of a table for a manifest's columns.

    Raises:
        UserError: a column's name is taken by the index.
    """
    import pyarrow as pa

    for name in columns:
        if name.startswith(_OWN) or name in ("_rowid", "_rowaddr", "_score", "_distance", "_relevance_score"):
            raise UserError(f"The manifest's column '{name}' has a name that the index uses itself. Rename it.")
    fields = [pa.field(stored(name), pa.string()) for name in columns]
    fields += [pa.field(SLOT, pa.int64())]
    fields += [pa.field(name, pa.string()) for name in (CELLS_HASH, VOLUME_HASH, SOURCE, LABELS, GEOMETRY)]
    fields += [pa.field(_OWN + plane, pa.binary()) for plane in PLANES]
    return pa.schema(fields)


def arrow_rows(studies: Sequence[StudyRecord], first_slot: int, columns: Sequence[str]) -> Any:
    """Return studies as an arrow table, their vectors in the slots from `first_slot` on."""
    import pyarrow as pa

    values: dict[str, list[Any]] = {stored(name): [study.cells.get(name, "") for study in studies] for name in columns}
    values[SLOT] = list(range(first_slot, first_slot + len(studies)))
    values[CELLS_HASH] = [study.cells_hash for study in studies]
    values[VOLUME_HASH] = [study.volume_hash for study in studies]
    values[SOURCE] = [study.source for study in studies]
    values[LABELS] = [";".join(study.labels) for study in studies]
    values[GEOMETRY] = [json.dumps(study.geometry) if study.geometry else "" for study in studies]
    for plane in PLANES:
        values[_OWN + plane] = [study.thumbnails.get(plane) for study in studies]
    return pa.table(values, schema=schema_of(columns))


def stored(column: str) -> str:
    """Return a manifest column's name in the table."""
    return column.replace(".", _DOT)


def picture_column(plane: str) -> str:
    """Return the table's column of a plane's thumbnail."""
    return _OWN + plane
