"""A cohort that exists only as a filled cache: volumes of smooth noise on the model's grid, without source files."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.hu.model_grid import ModelGrid

SPACING = (3.0, 1.5, 1.5)
WORDS = "nodule effusion opacity oedema fibrosis mass cyst scar right left upper lower lobe small large no".split()


def write_cohort(folder: Path, size: tuple[int, int, int], train: int, others: int = 2) -> Path:
    """Write a manifest, and the cache entries of its volumes into `cache` beside it.

    Args:
        folder: for both; what is there already is kept.
        size: of a volume, (D, H, W).
        train: studies of `train`.
        others: studies of `val`, and of `test`.

    Returns:
        The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    cache = VolumeCache(folder / "cache", ModelGrid(size))
    volumes: dict[int, np.ndarray] = {}  # eight, made when the first entry is missing
    lines = ["study_id,patient_id,volume,report,labels,split,sha256"]
    for number in range(train + 2 * others):
        split = "train" if number < train else "val" if number < train + others else "test"
        words = " ".join(random.choice(WORDS, 12))
        checksum = f"{number:064x}"
        lines.append(f"s{number},p{number},{number}.nii.gz,Study {number}: {words}.,nodule,{split},{checksum}")
        entry = cache.entry(folder / f"{number}.nii.gz", checksum)
        if not entry.is_file():
            entry.parent.mkdir(parents=True, exist_ok=True)
            seed = number % 8
            if seed not in volumes:
                volumes[seed] = smooth_volume(size, seed)
            voxels = volumes[seed].copy()
            voxels.flat[:2] = number % 1000, number // 1000  # no two volumes are alike
            cache.write(entry, voxels, SPACING, {"native_size": size, "native_spacing": SPACING})
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def smooth_volume(size: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return int16 HU (D, H, W) that vary over some six voxels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, *(max(2, side // 6) for side in size), generator=generator)
    smooth = interpolate(coarse, size=size, mode="trilinear")[0, 0]
    hu: np.ndarray = (smooth * 1400 - 1000).to(torch.int16).numpy()
    return hu
