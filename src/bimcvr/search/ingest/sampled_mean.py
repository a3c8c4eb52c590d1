"""Keeping the mean of an index's volumes up to date: that of a sample, made again when the sample changes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from bimcvr.data.manifest import Manifest
from bimcvr.search.index.cohort_mean import NAME, load_mean, mean_of, save_mean
from bimcvr.search.ingest.vector_sources import VectorSource

SAMPLE = 64
"""How many volumes the mean is made of."""


def refresh_mean(folder: Path, source: VectorSource, manifest: Manifest, volumes: Mapping[int, str]) -> None:
    """Write the mean of a sample of an index's volumes, unless it is there already.

    Args:
        folder: the index folder.
        source: reads the volumes.
        manifest: the manifest.
        volumes: row → hash of its volume, of all studies that are in the index.
    """
    # by a hash of their own, so that a study more or less changes few of the sample
    ids = manifest.column("study_id")
    sample = sorted(volumes, key=lambda row: hashlib.sha256(ids[row].encode("utf-8", "surrogatepass")).digest())[
        :SAMPLE
    ]
    names = "\0".join(sorted(volumes[row] for row in sample))
    made_of = hashlib.sha256(names.encode()).hexdigest()[:16]
    kept = load_mean(folder)
    if kept is not None and kept.made_of == made_of:
        return
    forget_mean(folder)
    grid, found = source.volumes(manifest, sample)
    mean = mean_of(found, grid, made_of)
    if mean is not None:
        save_mean(folder, mean)


def forget_mean(folder: Path) -> None:
    """Delete the mean: it has a part of volumes that have left the index."""
    (folder / NAME).unlink(missing_ok=True)
