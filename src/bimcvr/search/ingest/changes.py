"""The rows of a manifest that are new or changed, and writing them to the index."""

import hashlib
import json
import os
from collections.abc import Iterator

import numpy as np

from bimcvr.data.manifest import Manifest, split_list
from bimcvr.parallel import progress_bar
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import StudyRecord
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.ingest.thumbnails import VolumePreview
from bimcvr.search.ingest.vector_sources import EmbeddedStudy, VectorSource


class Changes:
    """The rows of a manifest that an index does not have, or has with other content.

    Args:
        manifest: the manifest.
        volumes: row → hash of its volume, for all rows to be indexed.
        known: study id → hashes of cells and volume in the index.

    Attributes:
        cells: row → column → text.
        hashes: row → hashes of cells and volume.
        rows: the new and changed rows.
        same_volume: those of them whose volume has not changed.
        unchanged: how many rows need no change.
    """

    def __init__(self, manifest: Manifest, volumes: dict[int, str], known: dict[str, tuple[str, str]]) -> None:
        self.cells = {
            row: dict(zip(manifest.table.columns, values, strict=True))
            for row, values in zip(volumes, manifest.table.iloc[list(volumes)].values.tolist(), strict=True)
        }
        # labels that other rules make are a change too
        made = {row: {"labels": manifest.cell("labels", row)} if manifest.made_labels else {} for row in volumes}
        self.hashes = {row: (_digest(cells | made[row]), volumes[row]) for row, cells in self.cells.items()}
        self.rows = [row for row, hashes in self.hashes.items() if known.get(self.cells[row]["study_id"]) != hashes]
        self.same_volume = {
            row for row in self.rows if known.get(self.cells[row]["study_id"], ("", ""))[1] == self.hashes[row][1]
        }
        self.unchanged = len(volumes) - len(self.rows)

    def batches(self, size: int) -> Iterator[list[int]]:
        """Yield the rows in batches of at most `size`."""
        for start in range(0, len(self.rows), size):
            yield self.rows[start : start + size]


def write_changes(
    writer: IndexWriter, source: VectorSource, manifest: Manifest, changes: Changes, batch: int
) -> dict[int, str]:
    """Encode new and changed rows and commit them, batch by batch; shows progress.

    Args:
        writer: of the index.
        source: where the vectors come from.
        manifest: the manifest.
        changes: the rows.
        batch: how many studies are committed at a time.

    Returns:
        For each row whose volume could not be read, `reason: message`.
    """
    refused: dict[int, str] = {}
    with Index.open(writer.folder) as old, progress_bar("indexing studies") as progress:
        task = progress.add_task("", total=len(changes.rows))
        for rows in changes.batches(batch):
            embedded, unreadable = source.embed(manifest, [row for row in rows if row not in changes.same_volume])
            refused |= unreadable
            for row in embedded:
                _reuse_preview(old, manifest, row, embedded[row])
            only_cells = [row for row in rows if row in changes.same_volume]
            for row, text in zip(only_cells, source.embed_reports(manifest, only_cells), strict=True):
                embedded[row] = _with_old_volume(old, changes.cells[row]["study_id"], text)
            writer.put([_record(manifest, row, changes, embedded[row]) for row in rows if row in embedded])
            progress.advance(task, len(rows))
    return refused


def _reuse_preview(old: Index, manifest: Manifest, row: int, embedded: EmbeddedStudy) -> None:
    """Keep the thumbnails of a volume that is missing now, where its vectors come from a file."""
    study_id, path = manifest.cell("study_id", row), manifest.volume_path(row)
    if (
        embedded.preview is None
        and not os.path.exists(path)  # a folder that may not be entered counts as missing
        and study_id in old
        and old.row(study_id).source == str(path.resolve())
    ):
        embedded.preview = _old_preview(old, study_id)


def _with_old_volume(old: Index, study_id: str, text: np.ndarray) -> EmbeddedStudy:
    """Combine a new text vector with the indexed volume vector and thumbnails: only the manifest's row has changed."""
    return EmbeddedStudy(old.image.row(old.position(study_id)), text, _old_preview(old, study_id))


def _old_preview(old: Index, study_id: str) -> VolumePreview | None:
    thumbnails = old.thumbnails(study_id)
    return VolumePreview(thumbnails, old.row(study_id).geometry) if thumbnails else None


def _record(manifest: Manifest, row: int, changes: Changes, embedded: EmbeddedStudy) -> StudyRecord:
    preview = embedded.preview
    return StudyRecord(
        changes.cells[row],
        embedded.image,
        embedded.text,
        sorted(split_list(manifest.cell("labels", row))),
        str(manifest.volume_path(row).resolve()),
        preview.geometry if preview else {},
        preview.thumbnails if preview else {},
        *changes.hashes[row],
    )


def _digest(cells: dict[str, str]) -> str:
    text = json.dumps(cells, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
