"""Adding, updating and deleting studies; each call is committed whole or not at all."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.errors import UserError
from bimcvr.search.index.commit import STREAMS, TABLE, Commit, read_commit, without_readers, writing
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.lance_table import index_words, open_table, read_columns, rewrite_rows
from bimcvr.search.index.prompt_vectors import prompts_digest, save_prompts
from bimcvr.search.index.schema import CELLS_HASH, SLOT, VOLUME_HASH, StudyRecord, arrow_rows, schema_of, stored
from bimcvr.search.index.viewer_volumes import VIEWER, ViewerVolumes

_ROWS = 65536
_NEVER = timedelta(days=36500)
# how much older than the one that counts versions of the table must be to go, where that one may not stay the newest
_MARGIN = timedelta(minutes=1)
_OURS = ("writer.lock", "reader.lock", f"{TABLE}.lance")


class IndexWriter:
    """The one writer of an index folder; use it in a `with` block.

    Args:
        folder: made if absent.
        dim: E, the width of the vectors.
        facts: what the index says about itself; those of an index that is there stay, beside what is given here.

    Raises:
        UserError: the folder holds something else, an index of another width, or another writer is at work.
    """

    def __init__(self, folder: Path, dim: int, facts: dict[str, Any] | None = None) -> None:
        _refuse_foreign(folder)
        self.folder = folder
        self._lock = writing(folder)
        self._lock.__enter__()
        try:
            self._open(dim, facts or {})
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__(None, None, None)

    def __len__(self) -> int:
        return self.commit.count

    def hashes(self) -> dict[str, tuple[str, str]]:
        """Return for each study the identities of its cells and of its volume."""
        return {study: (cells, volume) for study, (_, cells, volume) in self._known.items()}

    def put(self, studies: Sequence[StudyRecord]) -> None:
        """Add studies, or replace those of the same id, and commit.

        Raises:
            ValueError: an id stands twice, or a vector has another width, is not finite or all zero.
        """
        if not studies:
            return
        ids = [study.cells["study_id"] for study in studies]
        if len(set(ids)) < len(ids):
            raise ValueError("a study_id stands twice")
        self._add_columns(studies)
        commit = self.commit
        for stream in STREAMS:
            self._append(stream, np.stack([_stored_vector(getattr(study, stream), commit.dim) for study in studies]))
        rows = arrow_rows(studies, commit.slots, commit.columns)
        if any(name in self._known for name in ids):
            self._table.merge_insert("study_id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            self._table.add(rows)
        for place, study in enumerate(studies):
            self._known[ids[place]] = (commit.slots + place, study.cells_hash, study.volume_hash)
        self._commit(slots=commit.slots + len(studies), complete=False)

    def remove(self, study_ids: Sequence[str]) -> list[str]:
        """Delete studies and commit; returns those that were not there."""
        absent = [name for name in study_ids if name not in self._known]
        slots = [self._known.pop(name)[0] for name in dict.fromkeys(study_ids) if name in self._known]
        if slots:
            self._table.delete(f"{SLOT} IN ({', '.join(map(str, slots))})")
            self._commit()
        return absent

    def refresh_words(self) -> None:
        """Bring the full-text index up to date and join small files of the table, and commit."""
        self._table.optimize(cleanup_older_than=_NEVER)
        self._commit()

    def finish(self, facts: dict[str, Any], calibration: dict[str, Any], prompts: Prompts | None) -> bool:
        """Note facts, calibration and prompts as those of a finished run, commit.

        Reclaim space, as `reclaim` says.
        """
        name = ""
        if prompts is not None:
            name = f"prompts-{prompts_digest(prompts)}.npz"
            save_prompts(self.folder / name, prompts)
        self._commit(facts={**self.commit.facts, **facts}, calibration=calibration, prompts=name, complete=True)
        return self.reclaim()

    def reclaim(self) -> bool:
        """Erase what was deleted or replaced, rows, vectors and the viewer's volumes.

        Old versions, unless someone reads.

        Returns:
            Whether nothing of it is left in the files.
        """
        with without_readers(self.folder) as alone:
            if not alone:
                return self.commit.slots == len(self._known)
            if self.commit.slots > len(self._known):
                self._rewrite()
            self._drop_old_versions()
            keep = {self.commit.vectors(self.folder, stream).name for stream in STREAMS} | {self.commit.prompts}
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
        # with nothing left to join, the version that counts stays the newest, and that one is never deleted; files of
        # no version are what killed runs have left, as there is no other writer
        older = datetime.now(since.tzinfo) - since + (timedelta(0) if settled else _MARGIN)
        self._table.optimize(cleanup_older_than=older, delete_unverified=True)
        self._commit()

    def _open(self, dim: int, facts: dict[str, Any]) -> None:
        self._known: dict[str, tuple[int, str, str]] = {}
        found = read_commit(self.folder)
        if found is None:
            self._begin(dim, facts)
        else:
            if found.dim != dim:
                raise UserError(
                    f"The index {self.folder} holds vectors of width {found.dim}, these have {dim}: they are of another"
                    " model. Make a new index in another folder."
                )
            self.commit = replace(found, facts={**found.facts, **facts})
            self._table = open_table(self.folder)
            if self._table.version != found.table_version:
                self._table.restore(found.table_version)  # a killed run had gone on in the table alone
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
            self.commit.vectors(self.folder, stream).write_bytes(b"")
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
            self._table.add_columns([pa.field(stored(name), pa.string()) for name in new])
            self.commit = replace(self.commit, columns=(*self.commit.columns, *new))

    def _append(self, stream: str, vectors: np.ndarray) -> None:
        path = self.commit.vectors(self.folder, stream)
        with path.open("r+b") as handle:
            handle.truncate(self.commit.slots * self.commit.dim * 4)  # what a killed run had written does not count
            handle.seek(0, os.SEEK_END)
            handle.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
            handle.flush()
            os.fsync(handle.fileno())

    def _commit(self, **changes: Any) -> None:
        self.commit = replace(self.commit, table_version=self._table.version, count=len(self._known), **changes)
        self.commit.write(self.folder)

    def _rewrite(self) -> None:
        """Write the living rows and their vectors, in the vectors' order, into new files."""
        living = sorted(self._known.items(), key=lambda item: item[1][0])
        slots = np.array([slot for _, (slot, _, _) in living], dtype=np.int64)
        new = replace(self.commit, generation=self.commit.generation + 1, slots=len(living))
        for stream in STREAMS:
            old = np.memmap(
                self.commit.vectors(self.folder, stream),
                dtype="<f4",
                mode="r",
                shape=(self.commit.slots, self.commit.dim),
            )
            with new.vectors(self.folder, stream).open("wb") as handle:
                for start in range(0, len(slots), _ROWS):
                    handle.write(np.ascontiguousarray(old[slots[start : start + _ROWS]]).tobytes())
                handle.flush()
                os.fsync(handle.fileno())
        rewrite_rows(self._table, SLOT, slots)
        self._known = {name: (place, cells, volume) for place, (name, (_, cells, volume)) in enumerate(living)}
        self._commit(generation=new.generation, slots=new.slots)


def _refuse_foreign(folder: Path) -> None:
    if read_commit(folder) is None and folder.is_dir():
        for path in folder.iterdir():
            if path.name not in _OURS and path.suffix != ".f32" and not path.name.startswith(".writing-"):
                raise UserError(f"{folder} holds {path.name} and no index. Give --out a new folder.")


def _stored_vector(vector: np.ndarray, dim: int) -> np.ndarray:
    if vector.shape != (dim,) or not np.isfinite(vector).all() or not np.any(vector):
        raise ValueError(f"a vector of the shape {vector.shape} is not finite, all zero or not ({dim},)")
    return unit_vector(vector).astype(np.float32)
