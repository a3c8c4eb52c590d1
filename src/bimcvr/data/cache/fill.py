"""Fill the cache in parallel; it can be stopped and started again, and refused volumes are listed with reasons."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from bimcvr.atomic_files import replacing, require_room, require_writable
from bimcvr.data.cache.volume_cache import VolumeCache, cache_entries
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.file_checks import SUFFIXES, check_file
from bimcvr.data.reading.refused import RefusedVolume, killed_reader
from bimcvr.errors import UserError, printable
from bimcvr.parallel import WorkerKilled, one_thread, progress_bar, run_tasks


def default_folder(manifest: Manifest) -> Path:
    """Return the cache folder that is used where none is named: `cache` beside the manifest."""
    return manifest.path.parent / "cache"


def fill_cache(
    manifest: Manifest,
    rows: np.ndarray,
    cache: VolumeCache,
    jobs: int = -1,
    quiet: bool = False,
    option: str = "--cache",
) -> tuple[dict[int, Path], dict[int, str]]:
    """Read, resize and keep the volumes of some rows that are not in the cache yet.

    Args:
        manifest: the dataset.
        rows: (N,) positions in the manifest.
        cache: where to keep the volumes.
        jobs: processes to use; -1 for one a core.
        quiet: show no progress bar.
        option: the option that names the cache's folder, for a message.

    Returns:
        The cache file of each row that has one, and for each refused row `reason: message`.

    Raises:
        UserError: the cache's folder cannot be written to, or its disk has no room for them.
    """
    entries, refused = cache_entries(manifest, rows, cache)
    missing = {row: entry for row, entry in entries.items() if not entry.exists()}
    if missing:
        require_writable(cache.folder, option)
        require_room(
            cache.folder, len(missing) * 2 * math.prod(cache.size), f"the {len(missing)} volumes that are missing there"
        )
        with progress_bar("caching volumes", hidden=quiet) as progress:
            task = progress.add_task("", total=len(missing))
            for row, reason in _put_all(manifest, missing, cache, jobs):
                progress.advance(task)
                if reason:
                    refused[row] = reason
                    del entries[row]
    return entries, refused


def refused_unread(manifest: Manifest, rows: np.ndarray, cache: VolumeCache) -> tuple[dict[int, str], int]:
    """Find the rows that cannot be used by what is cheap to see, without decoding a voxel or writing a file.

    That is a missing, empty or foreign file, and a NIfTI header; what else is wrong is found when the cache is filled.

    Args:
        manifest: the dataset.
        rows: (N,) positions in the manifest.
        cache: where volumes are kept; those that are there are not looked at again.

    Returns:
        For each refused row `reason: message`, and how many volumes are in the cache already.
    """
    entries, refused = cache_entries(manifest, rows, cache)
    missing = {row: entry for row, entry in entries.items() if not entry.exists()}
    for row in missing:
        try:
            _look_at(manifest.volume_path(row), cache)
        except RefusedVolume as refusal:
            refused[row] = f"{refusal.reason}: {refusal}"
    return refused, len(entries) - len(missing)


def _look_at(source: Path, cache: VolumeCache) -> None:
    if source.is_dir():
        return  # a DICOM series, which only all its headers tell about
    if source.name.lower().endswith((".nii", ".nii.gz")):
        from bimcvr.data.reading.volume import read_image

        read_image(source, cache.rules)  # the voxels are not read
    elif source.name.lower().endswith(SUFFIXES):
        check_file(source)


def refuse_volumes(manifest: Manifest, refused: dict[int, str], skip: bool) -> None:
    """Refuse a run on volumes that cannot be used, unless they are to be skipped.

    Args:
        manifest: the dataset.
        refused: `reason: message` of each refused row.
        skip: the run's `data.skip_refused`.

    Raises:
        UserError: with the volumes and their reasons.
    """
    if refused and not skip:
        raise UserError(
            f"{len(refused)} volumes of {manifest.path} cannot be used:\n{describe_refused(manifest, refused)}\nRepair"
            " or remove them, or let the run skip them with --data.skip_refused true."
        )


def describe_refused(manifest: Manifest, refused: dict[int, str], most: int = 20) -> str:
    """Return the first `most` refused rows as text, one a line: study_id and reason."""
    study_ids = manifest.column("study_id")
    lines = [f"  {study_ids[row]}: {reason}" for row, reason in sorted(refused.items())[:most]]
    more = [f"  … and {len(refused) - most} more"] if len(refused) > most else []
    return printable("\n".join(lines + more))


def _put_all(manifest: Manifest, missing: dict[int, Path], cache: VolumeCache, jobs: int) -> Iterator[tuple[int, str]]:
    tasks = {row: (manifest.volume_path(row), entry, cache) for row, entry in missing.items()}
    for row, refusal in run_tasks(_put, tasks, jobs):
        refused = killed_reader(tasks[row][0]) if isinstance(refusal, WorkerKilled) else refusal
        yield row, f"{refused.reason}: {refused}" if refused else ""


def _put(source: Path, entry: Path, cache: VolumeCache) -> RefusedVolume | None:
    try:
        with one_thread():
            cache.put(source, entry)
    except RefusedVolume as refusal:
        return refusal
    return None


def write_refused(manifest: Manifest, refused: dict[int, str], path: Path) -> None:
    """Write refused rows as CSV: study_id, reason and message."""
    study_ids = manifest.column("study_id")
    parts = [(study_ids[row], *reason.split(": ", 1)) for row, reason in sorted(refused.items())]
    with replacing(path) as temporary:
        pd.DataFrame(parts, columns=["study_id", "reason", "message"]).to_csv(temporary, index=False)
