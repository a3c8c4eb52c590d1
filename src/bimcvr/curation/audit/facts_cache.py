"""The facts of all volumes of a manifest: measured in parallel and stored on disk, so a second audit costs nothing."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from bimcvr.atomic_files import require_writable, write_json
from bimcvr.curation.audit.volume_facts import FACTS_VERSION, VolumeFacts, measure_volume
from bimcvr.data.cache.volume_cache import source_identity
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume, killed_reader
from bimcvr.errors import UserError
from bimcvr.parallel import WorkerKilled, one_thread, progress_bar, run_tasks

Measured = VolumeFacts | RefusedVolume


def measure_all(
    manifest: Manifest, folder: Path, jobs: int = -1, rules: GridRules = DEFAULT_RULES
) -> dict[int, Measured]:
    """Measure the volumes of a manifest that were not measured before.

    It can be killed at any time and started again without losing finished work. A volume whose file has changed is
    measured again.

    Args:
        manifest: the dataset.
        folder: where facts are stored, one JSON file for each volume; several manifests can share it.
        jobs: processes to use; -1 for one a core.
        rules: which grids are accepted.

    Returns:
        For each row, the facts of its volume or the reader's refusal.
    """
    measured = stored_facts(manifest, folder, rules)
    missing = {row: entry for row, entry in _entries(manifest, folder, rules).items() if row not in measured}
    if missing:
        require_writable(folder, "--facts")
        with progress_bar("measuring volumes") as progress:
            task = progress.add_task("", total=len(missing))
            for row, facts in _measure_rows(manifest, missing, jobs, rules):
                measured[row] = facts
                progress.advance(task)
    return dict(sorted(measured.items()))


def stored_facts(manifest: Manifest, folder: Path, rules: GridRules = DEFAULT_RULES) -> dict[int, Measured]:
    """Return what is known already of a manifest's volumes, by row; no volume is read.

    Args:
        manifest: the dataset.
        folder: where facts are stored.
        rules: which grids are accepted.
    """
    known = {
        row: _load(entry, manifest.volume_path(row)) if entry else None
        for row, entry in _entries(manifest, folder, rules).items()
    }
    return {row: facts for row, facts in known.items() if facts is not None}


def measure_cached(source: Path, sha256: str, folder: Path, rules: GridRules) -> Measured:
    """Measure one volume, unless its facts are stored already.

    Args:
        source: a volume file or a DICOM folder.
        sha256: its checksum.
        folder: where facts are stored. Refusals are stored too, since the source may be deleted afterwards.
        rules: which grids are accepted.
    """
    entry = facts_path(source, sha256, folder, rules)
    known = _load(entry, source) if entry else None
    measured = known if known is not None else _measure(source, entry, rules)
    if known is None and entry and isinstance(measured, RefusedVolume):
        reason, _, problem, remedy = measured.args
        write_json(entry, {"refused": reason, "wrong": problem, "remedy": remedy})
    return measured


def facts_path(source: Path, sha256: str, folder: Path, rules: GridRules) -> Path | None:
    """Return the file that stores the facts of a volume in its present state; None if there is no volume.

    A changed volume has another file. With another suffix it can store other results of the volume.

    Args:
        source: the volume.
        sha256: the checksum in the manifest; empty if it is unknown.
        folder: where facts are stored.
        rules: which grids are accepted.
    """
    try:
        identity = sha256 or source_identity(source)
    except (UserError, OSError):
        # the volume is missing: the reader will say so
        return None
    key = hashlib.sha256(f"{FACTS_VERSION}{rules.identity}|{identity}".encode()).hexdigest()
    return folder / key[:2] / f"{key[2:34]}.json"


def _entries(manifest: Manifest, folder: Path, rules: GridRules) -> dict[int, Path | None]:
    checksums = manifest.column("sha256")
    return {row: facts_path(manifest.volume_path(row), checksums[row], folder, rules) for row in range(len(manifest))}


def _load(entry: Path, source: Path) -> Measured | None:
    try:
        record = json.loads(entry.read_text(encoding="utf-8"))
        return (
            RefusedVolume(record["refused"], source, record["wrong"], record["remedy"])
            if "refused" in record
            else VolumeFacts.from_json(record)
        )
    except (OSError, ValueError, KeyError, TypeError):
        # missing or invalid: the volume is measured again
        return None


def _measure_rows(
    manifest: Manifest, missing: dict[int, Path | None], jobs: int, rules: GridRules
) -> Iterator[tuple[int, Measured]]:
    tasks = {row: (manifest.volume_path(row), entry, rules) for row, entry in missing.items()}
    for row, measured in run_tasks(_measure, tasks, jobs):
        yield row, killed_reader(tasks[row][0]) if isinstance(measured, WorkerKilled) else measured


def _measure(source: Path, entry: Path | None, rules: GridRules) -> Measured:
    measured: Measured
    try:
        with one_thread():
            measured = measure_volume(source, rules)
        record = measured.to_json()
    except RefusedVolume as refusal:
        reason, _, problem, remedy = refusal.args
        measured, record = refusal, {"refused": reason, "wrong": problem, "remedy": remedy}
    except Exception as error:
        # one broken file must not end an audit; this result is not stored, since a later version may read the file
        return RefusedVolume(
            "unreadable", source, f"cannot be measured ({type(error).__name__}: {error}).", FETCH_AGAIN
        )
    if entry:
        write_json(entry, record)
    return measured
