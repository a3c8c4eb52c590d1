"""Filling the cache: in parallel, with progress, resumable; what cannot be read is set aside with its reason."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bimcvr.atomic_files import replacing
from bimcvr.data.cache.volume_cache import VolumeCache, cache_entries
from bimcvr.data.manifest import Manifest


def default_folder(manifest: Manifest) -> Path:
    """Return the cache folder that is used where none is named: `cache` beside the manifest."""
    return manifest.path.parent / "cache"


def fill_cache(
    manifest: Manifest,
    rows: np.ndarray,
    cache: VolumeCache,
    jobs: int = -1,
    quiet: bool = False,
) -> tuple[dict[int, Path], dict[int, str]]:
    """Make what the cache lacks of some rows.

    Args:
        manifest: the dataset.
        rows: positions in the manifest.
        cache: where to keep the volumes.
        jobs: processes to use; -1 for one a core.
        quiet: show no progress of its own.

    Returns:
        The cache entry of each row that has one, and for each other row `reason: message`.
    """
    entries, refused = cache_entries(manifest, rows, cache)
    lacking = {row: entry for row, entry in entries.items() if not entry.exists()}
    if lacking:
        with Progress(
            TextColumn("caching volumes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=quiet
        ) as progress:
            task = progress.add_task("", total=len(lacking))
            for row, reason in _put_all(manifest, lacking, cache, jobs):
                progress.advance(task)
                if reason:
                    refused[row] = reason
                    del entries[row]
    return entries, refused


def describe_refused(manifest: Manifest, refused: dict[int, str], most: int = 20) -> str:
    """List set-aside rows, one a line: study_id and reason; the first `most` of them."""
    lines = [f"  {manifest.column('study_id')[row]}: {reason}" for row, reason in sorted(refused.items())[:most]]
    return "\n".join(lines + ([f"  … and {len(refused) - most} more"] if len(refused) > most else []))


def _put_all(manifest: Manifest, lacking: dict[int, Path], cache: VolumeCache, jobs: int) -> Iterator[tuple[int, str]]:
    from joblib import Parallel, delayed

    tasks = (delayed(_put)(row, manifest.volume_path(row), entry, cache) for row, entry in lacking.items())
    yield from Parallel(n_jobs=jobs if len(lacking) > 8 else 1, return_as="generator_unordered")(tasks)


def _put(row: int, source: Path, entry: Path, cache: VolumeCache) -> tuple[int, str]:
    import SimpleITK
    import torch

    from bimcvr.data.reading.volume import RefusedVolume

    # the parallelism is over volumes: threads within one only get in each other's way
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cache.put(source, entry)
    except RefusedVolume as refusal:
        return row, f"{refusal.reason}: {refusal}"
    finally:
        torch.set_num_threads(threads)
    return row, ""


def write_refused(manifest: Manifest, refused: dict[int, str], path: Path) -> None:
    """Write set-aside rows as CSV: study_id, reason and message."""
    parts = [(manifest.column("study_id")[row], *reason.split(": ", 1)) for row, reason in sorted(refused.items())]
    with replacing(path) as temporary:
        pd.DataFrame(parts, columns=["study_id", "reason", "message"]).to_csv(temporary, index=False)
