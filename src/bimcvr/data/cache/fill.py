"""Filling the cache: in parallel, with progress, resumable; what cannot be read is set aside with its reason."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bimcvr.atomic_files import replacing
from bimcvr.data.cache.volume_cache import VolumeCache, cache_entries
from bimcvr.data.manifest import Manifest, read_manifest
from bimcvr.errors import UserError


def cache(
    manifest: Path,
    size: tuple[int, int, int] = (96, 224, 224),
    root: Path | None = None,
    folder: Path | None = None,
    jobs: int = -1,
    verify: bool = False,
) -> int:
    """Resize every volume of a manifest to the model's grid and keep it, so that training only reads.

    Stop it and start it again at any time: what is done stays done. Volumes that cannot be read are listed with
    their reasons and written to `refused.csv` in the cache folder.

    Args:
        manifest: the CSV file.
        size: the model's grid, slices, rows, columns: `--size '[96, 224, 224]'`.
        root: the folder that the `volume` column is relative to; the manifest's own by default.
        folder: where to keep the volumes; `cache` beside the manifest by default.
        jobs: processes to use; -1 for one a core.
        verify: also read every kept volume and compare it with its checksum.
    """
    table = read_manifest(manifest, root)
    kept = VolumeCache(folder or default_folder(table), size)
    entries, refused = fill_cache(table, table.accepted(), kept, jobs)
    if verify:
        refused |= _damaged(entries, kept)
    write_refused(table, refused, kept.folder / "refused.csv")
    print(f"{len(entries) - len(refused.keys() & entries.keys())} of {len(table.accepted())} volumes are in {kept.folder} at {size}.")
    if refused:
        print(f"{len(refused)} were set aside, listed in {kept.folder / 'refused.csv'}:")
        print(describe_refused(table, refused))
    return 3 if refused else 0


def default_folder(manifest: Manifest) -> Path:
    """Return the cache folder that is used where none is named: `cache` beside the manifest."""
    return manifest.path.parent / "cache"


def fill_cache(
    manifest: Manifest, rows: np.ndarray, cache: VolumeCache, jobs: int = -1, quiet: bool = False,
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
        with Progress(TextColumn("caching volumes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=quiet) as progress:
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


def _damaged(entries: dict[int, Path], cache: VolumeCache) -> dict[int, str]:
    damaged = {}
    for row, entry in entries.items():
        try:
            cache.read(entry, verify=True)
        except UserError as error:
            damaged[row] = f"damaged: {error}"
    return damaged


def write_refused(manifest: Manifest, refused: dict[int, str], path: Path) -> None:
    """Write set-aside rows as CSV: study_id, reason and message."""
    parts = [(manifest.column("study_id")[row], *reason.split(": ", 1)) for row, reason in sorted(refused.items())]
    with replacing(path) as temporary:
        pd.DataFrame(parts, columns=["study_id", "reason", "message"]).to_csv(temporary, index=False)
