"""Bringing an index up to date with a manifest."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.curation.labels.manifest_labels import describe_made, with_labels
from bimcvr.data.cache.cut_lungs import CutLungs
from bimcvr.data.cache.fill import describe_refused, write_refused
from bimcvr.data.evaluation_rows import split_rows
from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.data.manifest import Manifest, read_manifest
from bimcvr.errors import UserError
from bimcvr.provenance import git_commit
from bimcvr.search.index.commit import Commit, read_commit
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import check_columns
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.ingest.changes import Changes, write_changes
from bimcvr.search.ingest.measure_labels import measure_labels
from bimcvr.search.ingest.sampled_mean import forget_mean, refresh_mean
from bimcvr.search.ingest.vector_sources import EMBEDDINGS, VectorSource
from bimcvr.search.query.calibration import calibrate
from bimcvr.search.query.measured import LABELS


@dataclass(frozen=True)
class RowSelection:
    """Which rows of a manifest are indexed.

    Attributes:
        manifest: the CSV file.
        root: the folder that its `volume` column is relative to; its own folder if None.
        split: the split to index, or `all`.
    """

    manifest: Path
    root: Path | None
    split: str


@dataclass(frozen=True)
class UpdateReport:
    """What an update has changed.

    Attributes:
        folder: the index folder.
        studies: how many studies the index has now.
        updated: how many were added or replaced.
        removed: how many were removed.
        unchanged: how many were left as they were.
        outside: how many studies of the index are not among the selected rows.
        erased: whether nothing of removed and replaced studies is left in the files.
        not_found: studies to be removed that are neither in the index nor in the manifest.
        without_embedding: how many rows the file of embeddings has no vectors for.
        refused: how many volumes could not be read.
        refused_text: those volumes with the reasons, one a line.
        lungs_text: which of the volumes that were added or replaced lose lung to the grid; empty if none does.
        labels_text: how labels were made; empty if the manifest has its own.
    """

    folder: Path
    studies: int
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    outside: int = 0
    erased: bool = True
    not_found: tuple[str, ...] = ()
    without_embedding: int = 0
    refused: int = 0
    refused_text: str = ""
    lungs_text: str = ""
    labels_text: str = ""


def update_index(
    out: Path,
    source: VectorSource,
    selection: RowSelection,
    remove: Sequence[str] = (),
    prune: bool = False,
    batch: int = 64,
) -> UpdateReport:
    """Create an index, or update it; shows progress.

    Volumes that cannot be read are listed in `refused.csv` in the index folder.

    Args:
        out: the index folder.
        source: where the vectors come from.
        selection: the rows to index.
        remove: studies to remove.
        prune: also remove studies that are not among the rows, or have no volume or embedding now.
        batch: how many studies are committed at a time.

    Returns:
        What was changed.

    Raises:
        UserError: the manifest cannot be read, the index is of another model or split, or studies whose vectors come
            from another file of embeddings would stay in it.
    """
    manifest = with_labels(read_manifest(selection.manifest, selection.root))
    check_columns(manifest.table.columns)
    ids = manifest.column("study_id")
    rows = [row for row in split_rows(manifest, selection.split)[0].tolist() if ids[row] not in set(remove)]
    facts = {**source.facts(), "split": selection.split}
    _check_same_source(out, facts)
    identities, refused = source.volume_identities(manifest, rows)
    commit = read_commit(out)
    with IndexWriter(out, source.dim, {**facts, **_facts_while_writing(commit, facts["identity"])}) as writer:
        not_found = sorted(set(remove) - set(writer.hashes()) - set(ids))
        if commit is not None and commit.facts.get("identity") != facts["identity"] and not prune:
            _check_none_stays(out, set(writer.hashes()) - set(remove) - {ids[row] for row in identities})
        changes = Changes(manifest, identities, writer.hashes())
        refused |= write_changes(writer, source, manifest, changes, batch)
        known, embedded = set(writer.hashes()), {ids[row] for row in identities if row not in refused}
        unreadable = {ids[row] for row, reason in refused.items() if _is_damaged(reason)}
        removed = {*remove, *unreadable, *(known - embedded if prune else ())} & known
        writer.remove(sorted(removed))
        erased = _finish(writer, source, manifest, {**facts, **_run_facts(manifest)})
        studies = set(writer.hashes())
        refresh_mean(out, source, manifest, {row: name for row, name in identities.items() if ids[row] in studies})
    volumes = {row: reason for row, reason in refused.items() if not _has_no_embedding(reason)}
    write_refused(manifest, volumes, out / "refused.csv")
    return UpdateReport(
        out,
        studies=len(studies),
        updated=len(changes.rows) - len(refused.keys() & set(changes.rows)),
        removed=len(removed),
        unchanged=changes.unchanged,
        outside=len(studies - {ids[row] for row in rows}),
        erased=erased,
        not_found=tuple(not_found),
        without_embedding=len(refused) - len(volumes),
        refused=len(volumes),
        refused_text=describe_refused(manifest, volumes),
        lungs_text=CutLungs(source.lungs).describe(manifest),
        labels_text=describe_made(manifest),
    )


def remove_studies(out: Path, study_ids: Sequence[str]) -> UpdateReport:
    """Remove studies from an existing index.

    Args:
        out: the index folder.
        study_ids: the studies.

    Returns:
        What was changed.

    Raises:
        UserError: there is no index.
    """
    commit = read_commit(out)
    if commit is None:
        raise UserError(f"There is no index in {out}.")
    with IndexWriter(out, commit.dim) as writer:
        not_found = writer.remove(study_ids)
        studies = len(writer)
        erased = writer.reclaim()
        if len(not_found) < len(study_ids):
            forget_mean(out)
    removed = len(study_ids) - len(not_found)
    return UpdateReport(out, studies, removed=removed, erased=erased, not_found=tuple(not_found))


def _finish(writer: IndexWriter, source: VectorSource, manifest: Manifest, facts: dict[str, Any]) -> bool:
    writer.refresh_words()
    with Index.open(writer.folder) as index:
        prompts = source.prompts([frozenset(labels) for labels in index.labels])
        unseen = _held_out(source, manifest, set(index.study_ids))
        calibration = calibrate(index, prompts, source.text_encoder())
        calibration[LABELS] = measure_labels(index, prompts, unseen)
        facts |= {"with_pictures": index.count_with_thumbnails()}
    return writer.finish(facts, calibration, prompts)


def _held_out(source: VectorSource, manifest: Manifest, indexed: set[str]) -> set[str] | None:
    """Return the indexed studies of a manifest that the model was not trained on; None where that is not known."""
    ids = manifest.column("study_id")
    rows = np.array([row for row, study in enumerate(ids) if study in indexed], dtype=np.int64)
    held_out = source.held_out(manifest, rows)
    return None if held_out is None else {ids[row] for row in rows[held_out]}


def _run_facts(manifest: Manifest) -> dict[str, Any]:
    return {
        "manifest": str(manifest.path.resolve()),
        "manifest_hash": manifest.digest,
        "labels_from": manifest.labels_from,
        "root": str(manifest.root.resolve()),
        "code": git_commit(),
        "updated": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def _facts_while_writing(commit: Commit | None, identity: str) -> dict[str, Any]:
    """Return the facts that only hold until the run has finished.

    While one file of embeddings replaces another, half of the vectors are of each: the index is neither's.
    """
    if commit is None:
        return {"created": time.strftime("%Y-%m-%dT%H:%M:%S")}
    return {} if commit.facts.get("identity") == identity else {"identity": f"{EMBEDDINGS} of two files"}


def _check_same_source(out: Path, facts: dict[str, Any]) -> None:
    commit = read_commit(out)
    if commit is None:
        return
    for name, what in (("identity", "vectors of another model"), ("split", "another split")):
        indexed, new = commit.facts.get(name, "nothing"), facts[name]
        # another file of embeddings is allowed: the hash of each study includes its vectors, so all are replaced
        both_files = name == "identity" and indexed.startswith(EMBEDDINGS) and new.startswith(EMBEDDINGS)
        if indexed != new and not both_files:
            raise UserError(f"The index {out} has {what} ({indexed}, not {new}). Make a new index in another folder.")
    if "checkpoint" in facts and commit.facts.get("grid") and describe_grid(commit.facts) != describe_grid(facts):
        raise UserError(
            f"The index {out} has volumes on the grid {describe_grid(commit.facts)}, but this checkpoint's config.yaml"
            f" says {describe_grid(facts)}. Restore that config.yaml, or make a new index in another folder."
        )


def _check_none_stays(out: Path, staying: set[str]) -> None:
    if staying:
        raise UserError(
            f"The index {out} has {len(staying)} studies whose vectors come from another file, and which are not in"
            f" this file or manifest ({', '.join(sorted(staying)[:3])}, …): scores of two models cannot be compared."
            " Remove them with --prune true, or make a new index in another --out."
        )


def _has_no_embedding(reason: str) -> bool:
    return reason.startswith("no_embedding")


def _is_damaged(reason: str) -> bool:
    """Return whether a volume was read and refused; one that is missing may be on a disk that is not mounted."""
    return not reason.startswith(("no_embedding:", "missing_file:", "no_access:"))
