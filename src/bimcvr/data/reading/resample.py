"""Anti-aliased resampling of a volume to the model's grid, without a float copy of the whole volume.

Each axis is filtered with a triangle whose support grows with the down-sampling factor: what torch's
`F.interpolate(mode="bilinear", antialias=True, align_corners=False)` does along two axes, here along three.
Up-sampling is linear interpolation.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bimcvr.data.hu.chest import lung_mask, tissue_mask
from bimcvr.data.hu.coarse_copy import CoarseCopy
from bimcvr.data.hu.intensity import AIR, HIGHEST
from bimcvr.data.hu.model_grid import ModelGrid, Span
from bimcvr.data.hu.placement import Placement
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.volume import SLAB, NativeImage, Volume, geometry_of, placed, read_image, refusing

# rows of the filter's matrix at a time: fewer need more calls, more include more zeros
_ROWS = 8
# bytes of slices on the new grid that are held in any case; otherwise no more than the voxels themselves take
_HELD = 1 << 27


def read_resized(path: Path, size: tuple[int, int, int], rules: GridRules = DEFAULT_RULES) -> Volume:
    """Read a volume and resize it to a grid that covers the same field of view.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        size: the new (D, H, W).
        rules: which grids are accepted.

    Returns:
        The volume: HU rounded to int16, the spacing of the new grid in mm, and the `geometry` of the source.

    Raises:
        RefusedVolume: the source is not a regular volume in HU; `reason` says why.
    """
    return read_on_grid(path, ModelGrid(size), rules)


def read_on_grid(path: Path, grid: ModelGrid, rules: GridRules = DEFAULT_RULES) -> Volume:
    """Read a volume onto the grid that a model sees.

    A grid without a spacing covers the whole volume. With a spacing, the same filter makes voxels of these mm, of which
    the grid takes a range; the rest of it is air (−1000 HU). A body-centred grid reads the file twice. Where the grid
    cuts the volume, the lungs are found on a coarse copy, as in the audit, and their share outside is measured.

    Padding becomes air and HU are clipped to −1024 … 3071 before the filter, so that neither padding nor
    metal bleeds into tissue. Flips and permutations commute with the filter and come last, when the volume is small.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        grid: the model's grid.
        rules: which grids of source volumes are accepted.

    Returns:
        The volume: HU rounded to int16, its spacing, the `geometry` of the source, `lungs_outside` and `placement`.

    Raises:
        RefusedVolume: the source is not a regular volume in HU; `reason` says why.
    """
    native = read_image(path, rules)
    shape, mm = native.canonical()
    with refusing(path):
        coarse = CoarseCopy(native.shape, native.spacing, native.axes)
        middle = None
        if grid.centre == "body":
            for start, slab in native.cleaner(HIGHEST).clean(native.slabs()):
                coarse.add(start, slab)
            middle = _body_centre(coarse)
        spans = grid.spans(shape, mm, middle)
        cuts = any(span.cuts for span in spans)
        cleaner = native.cleaner(HIGHEST)
        slabs = cleaner.clean(native.slabs())
        picked = _picking(slabs, coarse) if cuts and grid.centre == "volume" else slabs
        hu = np.full(grid.size, AIR, dtype=np.int16)
        hu[tuple(slice(span.start, span.stop) for span in spans)] = _filtered(native, picked, spans)
        outside = _lungs_outside(coarse, spans) if cuts else 0.0
    depth, height, width = grid.spacing or (
        millimetres * old / new for millimetres, old, new in zip(mm, shape, grid.size, strict=True)
    )
    return Volume(hu, (depth, height, width), geometry_of(native, cleaner), placed(native, grid, spans), outside)


def place(path: Path, grid: ModelGrid, rules: GridRules = DEFAULT_RULES) -> Placement:
    """Return where a volume lies in the patient and on a model's grid; of most grids its header alone is read.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        grid: the model's grid; a body-centred one needs the voxels.
        rules: which grids of source volumes are accepted.

    Raises:
        RefusedVolume: the source is not a regular volume in HU.
    """
    if grid.centre == "body":
        return read_on_grid(path, grid, rules).placement
    native = read_image(path, rules)
    return placed(native, grid, grid.spans(*native.canonical(), None))


def _picking(slabs: Iterable[tuple[int, np.ndarray]], coarse: CoarseCopy) -> Iterator[tuple[int, np.ndarray]]:
    for start, slab in slabs:
        coarse.add(start, slab)
        yield start, slab


def _body_centre(coarse: CoarseCopy) -> list[float] | None:
    """Return the middle of the body in source voxels from each axis' first face; None without a body."""
    hu = coarse.hu()
    body = np.nonzero(tissue_mask(hu) | lung_mask(hu, coarse.spacing))
    if not len(body[0]):
        return None
    # not its outermost voxels, which may be a table's; nor its centre of mass, which the abdomen draws downwards
    ends = [np.percentile(places[index], (2, 98)) for places, index in zip(coarse.positions(), body, strict=True)]
    return [float(pair.mean()) for pair in ends]


def _lungs_outside(coarse: CoarseCopy, spans: Sequence[Span]) -> float | None:
    """Return the share of the lungs' voxels outside the grid; None if no lungs are found."""
    lung = lung_mask(coarse.hu(), coarse.spacing)
    inside = [
        (places >= span.first) & (places <= span.first + (span.stop - span.start) * span.step)
        for places, span in zip(coarse.positions(), spans, strict=True)
    ]
    total = int(np.count_nonzero(lung))
    return round(1 - int(np.count_nonzero(lung[np.ix_(*inside)])) / total, 4) if total else None


def _filtered(native: NativeImage, slabs: Iterable[tuple[int, np.ndarray]], spans: Sequence[Span]) -> np.ndarray:
    """Return int16 HU in canonical axes of those voxels of a grid that lie on the volume.

    Args:
        native: the image.
        slabs: all of its clean HU, slab by slab.
        spans: of the grid's canonical axes.
    """
    matrices = [np.empty((0, 0))] * 3
    for axis, flipped, span in zip(native.axes.order, native.axes.flipped, spans, strict=True):
        matrix = triangle_weights(native.shape[axis], span.stop - span.start, span.step, span.first)
        # where nothing is cut, the matrix is the same from either end
        matrices[axis] = matrix[::-1, ::-1] if flipped and span.cuts else matrix
    resized = _resize(native, slabs, [matrix.astype(np.float32) for matrix in matrices])
    return native.axes.canonical(np.rint(resized, out=resized).astype(np.int16))


def _resize(native: NativeImage, slabs: Iterable[tuple[int, np.ndarray]], matrices: list[np.ndarray]) -> np.ndarray:
    """Return float32 HU along the native axes, each filtered by its matrix (new, old)."""
    weights = matrices[0]
    depth, height, width = map(len, matrices)
    rows, columns = _bands(matrices[1]), _bands(matrices[2])
    used = np.flatnonzero(weights.any(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    resized: np.ndarray | None = None
    # slices that grow on the new grid are summed up in parts
    most = max(SLAB, max(_HELD, 4 * math.prod(native.shape)) // (4 * height * width))
    planes = np.empty((min(high - low, most), height * width), dtype=np.float32)
    first = low
    for begin, whole in slabs:
        # the others are read all the same: a file's checksum is compared at its end
        slab, start = whole[max(0, low - begin) : max(0, high - begin)], max(begin, low)
        if not len(slab):
            continue
        if start + len(slab) - first > len(planes):
            part = weights[:, first:start] @ planes[: start - first]
            resized = part if resized is None else np.add(resized, part, out=resized)
            first = start
        plane = _resize_columns(_resize_rows(slab, rows, height), columns, width)
        planes[start - first : start - first + len(slab)] = plane.reshape(len(slab), -1)
    part = weights[:, first:high] @ planes[: high - first]
    resized = part if resized is None else np.add(resized, part, out=resized)
    return resized.reshape(depth, height, width)


class _Band(NamedTuple):
    """A few rows of a filter's matrix without the zeros on either side; most of the matrix is zeros."""

    start: int
    low: int
    high: int
    weights: np.ndarray


def _bands(matrix: np.ndarray) -> list[_Band]:
    bands = []
    for start in range(0, len(matrix), _ROWS):
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


def triangle_weights(old: int, new: int, step: float | None = None, first: float = 0.0) -> np.ndarray:
    """Return the matrix that resamples one axis by an antialiased triangle filter.

    Args:
        old: number of voxels before.
        new: number of voxels after.
        step: old voxels from one new voxel to the next; by default both grids cover the same extent.
        first: where the first new voxel begins, in old voxels.

    Returns:
        float64 (new, old); each row sums to 1.
    """
    step = old / new if step is None else step
    support = max(step, 1.0)
    centres = first + (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old)[None] + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
