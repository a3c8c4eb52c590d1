"""Bringing an index up to date with a manifest."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.data.cache.fill import describe_refused, write_refused
from bimcvr.data.evaluation_rows import split_rows
from bimcvr.data.manifest import Manifest, read_manifest, split_list
from bimcvr.errors import UserError
from bimcvr.parallel import progress_bar
from bimcvr.provenance import git_commit
from bimcvr.search.index.commit import Commit, read_commit
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import StudyRecord
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.ingest.thumbnails import VolumePreview
from bimcvr.search.ingest.vector_sources import EMBEDDINGS, EmbeddedStudy, VectorSource
from bimcvr.search.query.calibration import calibrate
from bimcvr.search.query.highlights import extractor

_NOT_ERASED = (
    "Someone reads the index (a server?): what was removed or replaced is found no more, but stays in its files. It is"
    " erased when `index` runs while nobody reads."
)


@dataclass(frozen=True)
class RowSelection:
    """Which rows of which manifest are indexed: those of one split, or `all`."""

    manifest: Path
    root: Path | None
    split: str


def update_index(
    out: Path,
    source: VectorSource,
    chosen: RowSelection,
    remove: Sequence[str] = (),
    prune: bool = False,
    batch: int = 64,
) -> int:
    """Make an index, or bring it up to date.

    Args:
        out: its folder.
        source: of the vectors.
        chosen: the rows.
        remove: studies to take out.
        prune: also take out what is not among the rows, or has no volume or embedding now.
        batch: studies that are committed at a time.

    Returns:
        The exit code: 3 if volumes were set aside.

    Raises:
        UserError: the manifest cannot be read, or the index is of another model or split, or studies of another file of
            embeddings would stay; or, when all else is done, what to remove is nowhere.
    """
    manifest = read_manifest(chosen.manifest, chosen.root)
    rows = [
        row
        for row in split_rows(manifest, chosen.split)[0].tolist()
        if manifest.column("study_id")[row] not in set(remove)
    ]
    ids = manifest.column("study_id")
    facts = {**source.facts(), "split": chosen.split}
    _refuse_other(out, facts)
    identities, refused = source.volume_identities(manifest, rows)
    found = read_commit(out)
    with IndexWriter(out, source.dim, {**facts, **_begun(found, facts["identity"])}) as writer:
        unknown = sorted(set(remove) - set(writer.hashes()) - set(ids))
        if found is not None and found.facts.get("identity") != facts["identity"] and not prune:
            _refuse_two_files(out, set(writer.hashes()) - set(remove) - {ids[row] for row in identities})
        pending = _Changes(manifest, identities, writer.hashes())
        refused |= _put(writer, source, manifest, pending, batch)
        known, embedded = set(writer.hashes()), {ids[row] for row in identities if row not in refused}
        unreadable = {ids[row] for row, reason in refused.items() if _is_fault(reason)}
        gone = {*remove, *unreadable, *(known - embedded if prune else ())} & known
        writer.remove(sorted(gone))
        erased = _finish(
            writer,
            source,
            {
                **facts,
                "manifest": str(manifest.path.resolve()),
                "manifest_hash": manifest.digest,
                "root": str(manifest.root.resolve()),
                "code": git_commit(),
                "updated": time.strftime("%Y-%m-%dT%H:%M:%S"),
            },
        )
        done = len(pending.rows) - len(refused.keys() & set(pending.rows))
        print(f"{out}: {len(writer)} studies; {done} added or updated, {len(gone)} removed, {pending.same} unchanged.")
        kept = len(set(writer.hashes()) - {ids[row] for row in rows})
    if not erased:
        print(_NOT_ERASED)
    if kept:
        print(f"{kept} studies of the index are not among these rows and stay; --prune true takes them out.")
    code = _report_refused(out, manifest, refused)
    if unknown:
        raise UserError(f"Neither in the index {out} nor in the manifest: {', '.join(unknown)}. All else is done.")
    return code


def remove_studies(out: Path, study_ids: Sequence[str]) -> int:
    """Take studies out of an index that is there.

    Raises:
        UserError: there is no index, or none of them is in it.
    """
    found = read_commit(out)
    if found is None:
        raise UserError(f"There is no index in {out}.")
    with IndexWriter(out, found.dim) as writer:
        absent = writer.remove(study_ids)
        left = len(writer)
        erased = writer.reclaim()
    print(f"{out}: {len(study_ids) - len(absent)} studies removed, {left} left.")
    if not erased:
        print(_NOT_ERASED)
    if absent:
        raise UserError(f"Not in the index {out}: {', '.join(absent)}.")
    return 0


class _Changes:
    """What of a manifest's rows an index lacks or holds in another form."""

    def __init__(self, manifest: Manifest, volumes: dict[int, str], known: dict[str, tuple[str, str]]) -> None:
        self.cells = {
            row: dict(zip(manifest.table.columns, values, strict=True))
            for row, values in zip(volumes, manifest.table.iloc[list(volumes)].values.tolist(), strict=True)
        }
        self.hashes = {row: (_digest(cells), volumes[row]) for row, cells in self.cells.items()}
        self.rows = [row for row, hashes in self.hashes.items() if known.get(self.cells[row]["study_id"]) != hashes]
        self.same = len(volumes) - len(self.rows)


def _put(
    writer: IndexWriter, source: VectorSource, manifest: Manifest, pending: _Changes, batch: int
) -> dict[int, str]:
    refused: dict[int, str] = {}
    has_labels = any(manifest.column("labels"))
    known = writer.hashes()
    same_volume = {
        row for row in pending.rows if known.get(pending.cells[row]["study_id"], ("", ""))[1] == pending.hashes[row][1]
    }
    with Index.open(writer.folder) as old, progress_bar("indexing studies") as progress:
        task = progress.add_task("", total=len(pending.rows))
        for start in range(0, len(pending.rows), batch):
            part = pending.rows[start : start + batch]
            embedded, wrong = source.embed(manifest, [row for row in part if row not in same_volume])
            refused |= wrong
            for row in embedded:
                _keep_pictures(old, manifest, row, embedded[row])
            kept = [row for row in part if row in same_volume]
            for row, text in zip(kept, source.embed_reports(manifest, kept), strict=True):
                embedded[row] = _with_old_volume(old, pending.cells[row]["study_id"], text)
            writer.put([_study(manifest, row, pending, embedded[row], has_labels) for row in part if row in embedded])
            progress.advance(task, len(part))
    return refused


def _keep_pictures(old: Index, manifest: Manifest, row: int, embedded: EmbeddedStudy) -> None:
    """A volume that is away, while its vectors come from a file, keeps the pictures that were drawn of it."""
    study_id, path = manifest.column("study_id")[row], manifest.volume_path(row)
    if (
        embedded.pictures is None
        and not path.exists()
        and study_id in old
        and old.row(study_id).source == str(path.resolve())
    ):
        embedded.pictures = _old_pictures(old, study_id)


def _with_old_volume(old: Index, study_id: str, text: np.ndarray) -> EmbeddedStudy:
    """Only the row has changed: its volume's vector and pictures are those that the index has."""
    return EmbeddedStudy(old.image.row(old.place(study_id)), text, _old_pictures(old, study_id))


def _old_pictures(old: Index, study_id: str) -> VolumePreview | None:
    thumbnails = old.thumbnails(study_id)
    return VolumePreview(thumbnails, old.row(study_id).geometry) if thumbnails else None


def _study(manifest: Manifest, row: int, pending: _Changes, embedded: EmbeddedStudy, has_labels: bool) -> StudyRecord:
    cells = pending.cells[row]
    labels = (
        split_list(cells["labels"]) if has_labels else extractor().labels(cells["report"], cells.get("language", ""))
    )
    pictures = embedded.pictures
    return StudyRecord(
        cells,
        embedded.image,
        embedded.text,
        sorted(labels),
        str(manifest.volume_path(row).resolve()),
        pictures.geometry if pictures else {},
        pictures.thumbnails if pictures else {},
        *pending.hashes[row],
    )


def _finish(writer: IndexWriter, source: VectorSource, facts: dict[str, Any]) -> bool:
    writer.refresh_words()
    with Index.open(writer.folder) as index:
        prompts = source.prompts([frozenset(labels) for labels in index.labels])
        calibration = calibrate(index, prompts, source.text_encoder())
        facts |= {"with_pictures": index.with_pictures()}
    return writer.finish(facts, calibration, prompts)


def _refuse_other(out: Path, facts: dict[str, Any]) -> None:
    found = read_commit(out)
    if found is None:
        return
    for name, what in (("identity", "vectors of another model"), ("split", "another split")):
        held, given = found.facts.get(name, "nothing"), facts[name]
        # another file of embeddings is let through: its vectors are in its studies' identities, so all of them are put
        # anew
        if held != given and not (name == "identity" and held.startswith(EMBEDDINGS) and given.startswith(EMBEDDINGS)):
            raise UserError(f"The index {out} holds {what} ({held}, not {given}). Make a new index in another folder.")


def _begun(found: Commit | None, identity: str) -> dict[str, Any]:
    """Return the facts that differ while a run is at work.

    An index half of whose vectors are another file's is neither's.
    """
    if found is None:
        return {"created": time.strftime("%Y-%m-%dT%H:%M:%S")}
    return {} if found.facts.get("identity") == identity else {"identity": f"{EMBEDDINGS} of two files"}


def _refuse_two_files(out: Path, staying: set[str]) -> None:
    if staying:
        raise UserError(
            f"The index {out} holds {len(staying)} studies whose vectors come from another file, and this file or"
            f" manifest has none of them ({', '.join(sorted(staying)[:3])}, …): scores of two models cannot be"
            " compared. Take them out with --prune true, or make a new index in another --out."
        )


def _is_embeddable(reason: str) -> bool:
    return not reason.startswith("no_embedding")


def _is_fault(reason: str) -> bool:
    """Whether a volume was seen and is none; one that is not there may only lie on a disk that is away."""
    return not reason.startswith(("no_embedding:", "missing_file:"))


def _report_refused(out: Path, manifest: Manifest, refused: dict[int, str]) -> int:
    absent = sum(not _is_embeddable(reason) for reason in refused.values())
    if absent:
        print(f"{absent} rows have no embedding and are left out.")
    volumes = {row: reason for row, reason in refused.items() if _is_embeddable(reason)}
    write_refused(manifest, volumes, out / "refused.csv")
    if volumes:
        print(f"{len(volumes)} were set aside, listed in {out / 'refused.csv'}:\n{describe_refused(manifest, volumes)}")
    return 3 if volumes else 0


def _digest(cells: dict[str, str]) -> str:
    return hashlib.sha256(
        json.dumps(cells, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ).hexdigest()[:32]
