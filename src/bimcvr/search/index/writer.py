"""Adding, updating and deleting studies; each call is committed atomically."""

import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.errors import UserError
from bimcvr.search.index.commit import STREAMS, TABLE, Commit, hold_for_writing, read_commit, without_readers
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.lance_table import index_words, open_table, read_columns, rewrite_rows
from bimcvr.search.index.prompt_vectors import prompts_digest, save_prompts
from bimcvr.search.index.schema import CELLS_HASH, SLOT, VOLUME_HASH, StudyRecord, arrow_rows, schema_of, stored_name
from bimcvr.search.index.viewer_volumes import VIEWER, ViewerVolumes

_ROWS = 65536
_NEVER = timedelta(days=36500)
# how much older than the committed version of the table others must be to be deleted, where it may not stay the newest
_MARGIN = timedelta(minutes=1)
_INDEX_FILES = ("writer.lock", "reader.lock", f"{TABLE}.lance")


class IndexWriter:
    """The only writer of an index folder; use it in a `with` block.

    Args:
        folder: the index folder; created if it does not exist.
        dim: E, the width of the vectors.
        facts: what the index says about itself; added to the facts of an existing index.

    Raises:
        UserError: the folder contains something else or an index of another width, or another process is writing.
    """

    def __init__(self, folder: Path, dim: int, facts: dict[str, Any] | None = None) -> None:
        _refuse_foreign(folder)
        self.folder = folder
        self._lock = hold_for_writing(folder)
        self._lock.__enter__()
        try:
            self._open(dim, facts or {})
        except BaseException as error:
            self._lock.__exit__(type(error), error, error.__traceback__)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def __len__(self) -> int:
        return self.commit.count

    def hashes(self) -> dict[str, tuple[str, str]]:
        """Return for each study the hashes of its cells and of its volume."""
        return {study: (cells, volume) for study, (_, cells, volume) in self._known.items()}

    def put(self, studies: Sequence[StudyRecord]) -> None:
        """Add studies, or replace those of the same id, and commit.

        Args:
            studies: the studies.

        Raises:
            ValueError: an id appears more than once, or a vector has another width, is not finite or is all zero.
        """
        if not studies:
            return
        ids = [study.cells["study_id"] for study in studies]
        if len(set(ids)) < len(ids):
            raise ValueError("a study_id appears more than once")
        self._add_columns(studies)
        commit = self.commit
        checksums = {
            stream: self._append(
                stream, np.stack([_stored_vector(getattr(study, stream), commit.dim) for study in studies])
            )
            for stream in STREAMS
        }
        rows = arrow_rows(studies, commit.slots, commit.columns)
        if any(name in self._known for name in ids):
            self._table.merge_insert("study_id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            self._table.add(rows)
        for position, study in enumerate(studies):
            self._known[ids[position]] = (commit.slots + position, study.cells_hash, study.volume_hash)
        known = {stream: checksum for stream, checksum in checksums.items() if checksum is not None}
        self._commit(slots=commit.slots + len(studies), checksums=known, complete=False)

    def remove(self, study_ids: Sequence[str]) -> list[str]:
        """Delete studies and commit.

        Args:
            study_ids: the studies.

        Returns:
            Those that are not in the index.
        """
        absent = [name for name in study_ids if name not in self._known]
        slots = [self._known.pop(name)[0] for name in dict.fromkeys(study_ids) if name in self._known]
        if slots:
            self._table.delete(f"{SLOT} IN ({', '.join(map(str, slots))})")
            self._commit()
        return absent

    def refresh_words(self) -> None:
        """Update the full-text index, merge small files of the table, and commit."""
        self._table.optimize(cleanup_older_than=_NEVER)
        self._commit()

    def finish(self, facts: dict[str, Any], calibration: dict[str, Any], prompts: Prompts | None) -> bool:
        """Commit facts, calibration and prompts as those of a finished run, then call `reclaim`.

        Args:
            facts: added to those of the index.
            calibration: as `calibrate` returns it.
            prompts: the keywords' prompts, if there are any.

        Returns:
            As `reclaim`.
        """
        name = ""
        if prompts is not None:
            name = f"prompts-{prompts_digest(prompts)}.npz"
            save_prompts(self.folder / name, prompts)
        self._commit(facts={**self.commit.facts, **facts}, calibration=calibration, prompts=name, complete=True)
        return self.reclaim()

    def reclaim(self) -> bool:
        """Erase the rows, vectors and viewer volumes of deleted and replaced studies, unless someone reads the index.

        Returns:
            Whether nothing of them is left in the files.
        """
        with without_readers(self.folder) as no_readers:
            if not no_readers:
                return self.commit.slots == len(self._known)
            if self.commit.slots > len(self._known):
                self._rewrite()
            self._drop_old_versions()
            keep = {self.commit.vector_file(self.folder, stream).name for stream in STREAMS} | {self.commit.prompts}
            for path in [
                *self.folder.glob("*.f32"),
                *self.folder.glob("prompts-*.npz"),
                *self.folder.glob(".writing-*"),
            ]:
                if path.name not in keep:
                    path.unlink()
            ViewerVolumes(self.folder / VIEWER).keep_only(self._known)
            return True

    def _drop_old_versions(self) -> None:
        settled = False
        for _ in range(8):
            before = self._table.version
            self.refresh_words()
            settled = self._table.version == before
            if settled:
                break
        since = next(
            version["timestamp"]
            for version in self._table.list_versions()
            if version["version"] == self.commit.table_version
        )
        # with nothing left to merge, the committed version stays the newest, which is never deleted; files that belong
        # to no version were left by killed runs, as there is no other writer
        older = datetime.now(since.tzinfo) - since + (timedelta(0) if settled else _MARGIN)
        self._table.optimize(cleanup_older_than=older, delete_unverified=True)
        self._commit()

    def _open(self, dim: int, facts: dict[str, Any]) -> None:
        self._known: dict[str, tuple[int, str, str]] = {}
        commit = read_commit(self.folder)
        if commit is None:
            self._begin(dim, facts)
        else:
            if commit.dim != dim:
                raise UserError(
                    f"The index {self.folder} has vectors of width {commit.dim}, the new ones have {dim}: they are of"
                    " another model. Make a new index in another folder."
                )
            self.commit = replace(commit, facts={**commit.facts, **facts})
            self._table = open_table(self.folder)
            if self._table.version != commit.table_version:
                # a killed run changed the table but did not commit
                self._table.restore(commit.table_version)
        table = read_columns(self._table, ["study_id", SLOT, CELLS_HASH, VOLUME_HASH])
        columns = [table.column(name).to_pylist() for name in ("study_id", SLOT, CELLS_HASH, VOLUME_HASH)]
        self._known = {name: (slot, cells, volume) for name, slot, cells, volume in zip(*columns, strict=True)}

    def _begin(self, dim: int, facts: dict[str, Any]) -> None:
        import lancedb

        shutil.rmtree(self.folder / f"{TABLE}.lance", ignore_errors=True)
        columns = ("study_id", "volume", "report")
        self._table = lancedb.connect(str(self.folder)).create_table(TABLE, schema=schema_of(columns))
        index_words(self._table)
        self.commit = Commit(0, 1, 0, 0, dim, columns, facts=facts)
        for stream in STREAMS:
            self.commit.vector_file(self.folder, stream).write_bytes(b"")
        self._commit()

    def _add_columns(self, studies: Sequence[StudyRecord]) -> None:
        import pyarrow as pa

        new = [
            name
            for name in dict.fromkeys(name for study in studies for name in study.cells)
            if name not in self.commit.columns
        ]
        if new:
            schema_of(new)
            self._table.add_columns([pa.field(stored_name(name), pa.string()) for name in new])
            self.commit = replace(self.commit, columns=(*self.commit.columns, *new))

    def _append(self, stream: str, vectors: np.ndarray) -> int | None:
        """Append vectors to a file, and return its new checksum; None where that of the old vectors is unknown."""
        path, content = self.commit.vector_file(self.folder, stream), vectors.astype("<f4").tobytes()
        with path.open("r+b") as handle:
            # cut off what a killed run wrote but did not commit
            handle.truncate(self.commit.slots * self.commit.dim * 4)
            handle.seek(0, os.SEEK_END)
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        before = self.commit.checksums.get(stream) if self.commit.slots else 0
        return None if before is None else zlib.crc32(content, before)

    def _commit(self, **changes: Any) -> None:
        self.commit = replace(self.commit, table_version=self._table.version, count=len(self._known), **changes)
        self.commit.write(self.folder)

    def _rewrite(self) -> None:
        """Rewrite the rows and vectors of the studies that are left, in the order of their slots, into new files."""
        current = sorted(self._known.items(), key=lambda item: item[1][0])
        slots = np.array([slot for _, (slot, _, _) in current], dtype=np.int64)
        new = replace(self.commit, generation=self.commit.generation + 1, slots=len(current))
        self.commit.check_vectors(self.folder)  # else the new checksums would be those of damaged vectors
        checksums = dict.fromkeys(STREAMS, 0)
        for stream in STREAMS:
            old = np.memmap(
                self.commit.vector_file(self.folder, stream),
                dtype="<f4",
                mode="r",
                shape=(self.commit.slots, self.commit.dim),
            )
            with new.vector_file(self.folder, stream).open("wb") as handle:
                for start in range(0, len(slots), _ROWS):
                    block = old[slots[start : start + _ROWS]].tobytes()
                    checksums[stream] = zlib.crc32(block, checksums[stream])
                    handle.write(block)
                handle.flush()
                os.fsync(handle.fileno())
        rewrite_rows(self._table, SLOT, slots)
        self._known = {name: (position, cells, volume) for position, (name, (_, cells, volume)) in enumerate(current)}
        self._commit(generation=new.generation, slots=new.slots, checksums=checksums)


def _refuse_foreign(folder: Path) -> None:
    if any(ord(one) < 32 or ord(one) == 127 for one in str(folder.absolute())):
        raise UserError(
            f"The path {folder} has a control character, which LanceDB does not take. Choose another --out."
        )
    if read_commit(folder) is None and folder.is_dir():
        for path in folder.iterdir():
            if path.name not in _INDEX_FILES and path.suffix != ".f32" and not path.name.startswith(".writing-"):
                raise UserError(f"{folder} contains {path.name} and no index. Give --out a new folder.")


def _stored_vector(vector: np.ndarray, dim: int) -> np.ndarray:
    if vector.shape != (dim,) or not np.isfinite(vector).all() or not np.any(vector):
        raise ValueError(f"a vector of shape {vector.shape} is not finite, is all zero, or is not of shape ({dim},)")
    return unit_vector(vector).astype(np.float32)
