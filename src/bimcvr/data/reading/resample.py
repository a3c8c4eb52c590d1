"""Anti-aliased resize of a volume to the model's grid, without a float copy of the whole volume.

Each axis is filtered with a triangle whose support grows with the down-sampling factor: what torch's
`F.interpolate(mode="bilinear", antialias=True, align_corners=False)` does along two axes, here along three.
Up-sampling is linear interpolation.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bimcvr.data.hu.intensity import HIGHEST, HUSlabs
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.volume import SLAB, NativeImage, Volume, geometry_of, read_image, refusing

# rows of the filter's matrix at a time: fewer need more calls, more include more zeros
_ROWS = 8
# bytes of slices on the new grid that are held in any case; otherwise no more than the voxels themselves take
_HELD = 1 << 27


def read_resized(path: Path, size: tuple[int, int, int], rules: GridRules = DEFAULT_RULES) -> Volume:
    """Read a volume and resize it to a grid that covers the same field of view.

    Padding becomes air and HU are clipped to −1024 … 3071 before the filter, so that neither padding nor
    metal bleeds into tissue. Flips and permutations commute with the filter and come last, when the volume is small.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        size: the new (D, H, W).
        rules: which grids are accepted.

    Returns:
        The volume: HU rounded to int16, the spacing of the new grid in mm, and the `geometry` of the source.

    Raises:
        RefusedVolume: the source is not a regular volume in HU; `reason` says why.
    """
    native = read_image(path, rules)
    cleaner = native.cleaner(HIGHEST)
    target = [0, 0, 0]
    for axis, length in zip(native.axes.order, size, strict=True):
        target[axis] = length
    with refusing(path):
        resized = _resize(native, cleaner, target)
        hu = native.axes.canonical(np.rint(resized, out=resized).astype(np.int16))
    geometry = geometry_of(native, cleaner)
    depth, height, width = (
        mm * old / new for mm, old, new in zip(geometry.native_spacing, geometry.native_size, size, strict=True)
    )
    return Volume(np.ascontiguousarray(hu), (depth, height, width), geometry)


def _resize(native: NativeImage, cleaner: HUSlabs, target: list[int]) -> np.ndarray:
    """Return float32 HU of a grid along the native axes."""
    depth, height, width = target
    rows, columns = _bands(native.shape[1], height), _bands(native.shape[2], width)
    weights = triangle_weights(native.shape[0], depth).astype(np.float32)
    resized = np.zeros((depth, height * width), dtype=np.float32)
    # slices that grow on the new grid are summed up in parts
    most = max(SLAB, max(_HELD, 4 * math.prod(native.shape)) // (4 * height * width))
    planes = np.empty((min(native.shape[0], most), height * width), dtype=np.float32)
    first = 0
    for start, slab in cleaner.clean(native.slabs()):
        if start + len(slab) - first > len(planes):
            resized += weights[:, first:start] @ planes[: start - first]
            first = start
        plane = _resize_columns(_resize_rows(slab, rows, height), columns, width)
        planes[start - first : start - first + len(slab)] = plane.reshape(len(slab), -1)
    resized += weights[:, first:] @ planes[: native.shape[0] - first]
    return resized.reshape(target)


class _Band(NamedTuple):
    """A few rows of a filter's matrix without the zeros on either side; most of the matrix is zeros."""

    start: int
    low: int
    high: int
    weights: np.ndarray


def _bands(old: int, new: int) -> list[_Band]:
    matrix = triangle_weights(old, new).astype(np.float32)
    bands = []
    for start in range(0, new, _ROWS):
        rows = matrix[start : start + _ROWS]
        used = np.flatnonzero(rows.any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        bands.append(_Band(start, low, high, np.ascontiguousarray(rows[:, low:high])))
    return bands


def _resize_rows(slab: np.ndarray, bands: list[_Band], new: int) -> np.ndarray:
    """Return float32 (N, new, W) of float32 (N, old, W)."""
    resized = np.empty((len(slab), new, slab.shape[2]), dtype=np.float32)
    for start, low, high, weights in bands:
        np.matmul(weights, slab[:, low:high], out=resized[:, start : start + len(weights)])
    return resized


def _resize_columns(slab: np.ndarray, bands: list[_Band], new: int) -> np.ndarray:
    """Return float32 (N, H, new) of float32 (N, H, old)."""
    lines = slab.reshape(-1, slab.shape[2])
    resized = np.empty((len(lines), new), dtype=np.float32)
    for start, low, high, weights in bands:
        np.matmul(lines[:, low:high], weights.T, out=resized[:, start : start + len(weights)])
    return resized.reshape(*slab.shape[:2], new)


def triangle_weights(old: int, new: int) -> np.ndarray:
    """Return the matrix that resizes one axis by an antialiased triangle filter.

    Args:
        old: number of voxels before.
        new: number of voxels after; both grids cover the same extent.

    Returns:
        float64 (new, old); each row sums to 1.
    """
    step = old / new
    support = max(step, 1.0)
    centres = (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old)[None] + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
