"""Anti-aliased resize of a volume to the model's grid, without a float copy of the whole.

Each axis is filtered with a triangle whose support grows with the down-sampling factor: what torch's
`F.interpolate(mode="bilinear", antialias=True, align_corners=False)` does to two axes, done to three.
Up-sampling is linear interpolation.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from bimcvr.data.intensity import HIGHEST
from bimcvr.data.volume import SLAB, Volume, geometry_of, read_image


def read_resized(path: Path, size: tuple[int, int, int]) -> Volume:
    """Read a volume and resize it to a grid that covers the same field of view.

    Padding becomes air and HU are clipped to −1024 … 3071 before the filter, so that neither padding nor metal
    bleeds into tissue. Flips and permutations commute with the filter: they come last, where they are small.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        size: the new (D, H, W).

    Returns:
        The volume, its HU rounded to int16, its spacing that of the new grid; `geometry` is the source's.

    Raises:
        RefusedVolume: the source is no regular volume in HU; `reason` says why.
    """
    native = read_image(path)
    slabs = native.slabs(HIGHEST)
    count, rows, columns = native.array.shape
    target = [0, 0, 0]
    for axis, length in zip(native.axes.order, size, strict=True):
        target[axis] = length
    buffer = np.empty((SLAB, rows, columns), dtype=np.float32)
    planes = torch.empty((count, target[1], target[2]))
    for start in range(0, count, SLAB):
        stop = min(start + SLAB, count)
        slab = torch.from_numpy(slabs.read(start, stop, buffer))
        planes[start:stop] = F.interpolate(slab[None], target[1:], mode="bilinear", antialias=True)[0]
    weights = torch.from_numpy(triangle_weights(count, target[0]).astype(np.float32))
    resized = (weights @ planes.flatten(1)).reshape(target)
    hu = native.axes.canonical(resized.round_().to(torch.int16).numpy())
    geometry = geometry_of(native, slabs)
    depth, height, width = (mm * old / new for mm, old, new in
                            zip(geometry.native_spacing, geometry.native_size, size, strict=True))
    return Volume(np.ascontiguousarray(hu), (depth, height, width), geometry)


def triangle_weights(old: int, new: int) -> np.ndarray:
    """Return the matrix that resizes one axis by an antialiased triangle filter.

    Args:
        old: voxels before.
        new: voxels after; both grids cover the same extent.

    Returns:
        float64 (new, old); each row sums to 1.
    """
    step = old / new
    support = max(step, 1.0)
    centres = (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old)[None] + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
