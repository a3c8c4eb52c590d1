"""Measurements of lungs and body on a coarse copy of a volume: whether it is a chest, and how it is oriented."""

from dataclasses import dataclass

import numpy as np

from bimcvr.data.hu.chest import lung_mask, tissue_mask

# compact bone, above most contrast medium in the heart
_BONE = 350.0


@dataclass(frozen=True)
class ChestFacts:
    """Measurements of the anatomy; lengths in mm, axes in canonical order.

    Attributes:
        lung_share: largest share of lung in the body's cross-section, over the slices.
        lung_extent: mm along z over which lung is at least a tenth of the cross-section.
        lung_ends: share of lung in the body's cross-section in the lowest and in the topmost slices.
        lung_dip: how far the area of lung falls and rises again along z, as a share of its maximum.
        lung_ml: volume of the aerated lung in mL.
        lung_hu: its mean density in HU; 0 if there is none.
        cut: for z, y and x, the share of the volume's end face that the body covers, on the emptier of the two ends.
        mirror: for z, y and x, the share of the tissue that overlaps with tissue when mirrored along the axis.
        width: the body's median extent along x, over the slices with lung, or over all if there are none.
        depth: the same along y.
        base_to_apex: area of the box around the lungs near their lower end, divided by that near their upper end.
        windpipe: the share of the slices in and above the lungs' upper third with an airway near the midline, minus
            the same share in and below their lower third.
        bone: the position of the midline's bone between the body's front (0) and back (1); −1 if it is unknown.
        table: of the objects in front of or behind the body (table, bedding), the share behind; −1 if there are none.
    """

    lung_share: float
    lung_extent: float
    lung_ends: tuple[float, float]
    lung_dip: float
    lung_ml: float
    lung_hu: float
    cut: tuple[float, float, float]
    mirror: tuple[float, float, float]
    width: float
    depth: float
    base_to_apex: float
    windpipe: float
    bone: float
    table: float


def measure_chest(hu: np.ndarray, spacing: tuple[float, float, float]) -> ChestFacts:
    """Measure lungs and body of a volume.

    Args:
        hu: clean HU, (D, H, W) in canonical axes, coarse: voxels of about 4 mm are enough.
        spacing: mm along the same axes.
    """
    from scipy import ndimage

    lung = lung_mask(hu, spacing)
    tissue = tissue_mask(hu)
    body = lung | tissue
    areas = lung.sum(axis=(1, 2))
    shares = areas / np.maximum(body.sum(axis=(1, 2)), 1)
    has_lung = shares >= 0.1
    voxel = float(np.prod(spacing)) / 1000
    chosen = has_lung if has_lung.any() else body.any(axis=(1, 2))
    width, depth = (_breadth(body, axis, chosen) * spacing[axis] for axis in (2, 1))
    return ChestFacts(
        lung_share=round(float(ndimage.median_filter(shares, 3).max()), 4),
        lung_extent=round(float(has_lung.sum()) * spacing[0], 1),
        lung_ends=(round(float(np.median(shares[:3])), 4), round(float(np.median(shares[-3:])), 4)),
        lung_dip=round(_dip(ndimage.median_filter(areas, 3)), 4),
        lung_ml=round(float(areas.sum()) * voxel, 1),
        lung_hu=round(float(hu[lung].mean()), 1) if lung.any() else 0.0,
        cut=_cut_faces(body),
        mirror=_mirrored(tissue),
        width=round(width, 1),
        depth=round(depth, 1),
        base_to_apex=round(_base_to_apex(lung, has_lung), 3),
        windpipe=round(_windpipe(hu, lung, body, spacing, np.flatnonzero(has_lung)), 3),
        bone=round(_bone_position(hu, body, spacing, has_lung), 3),
        table=round(_table(hu[chosen], body[chosen]), 3),
    )


def _cut_faces(body: np.ndarray) -> tuple[float, float, float]:
    z, y, x = (float(min(np.take(body, 0, axis).mean(), np.take(body, -1, axis).mean())) for axis in range(3))
    return round(z, 4), round(y, 4), round(x, 4)


def _mirrored(tissue: np.ndarray) -> tuple[float, float, float]:
    """Return the overlap of the tissue with its mirror image within its bounding box, for z, y and x."""
    spans = []
    for axis in range(3):
        occupied = np.flatnonzero(tissue.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(occupied[0]), int(occupied[-1]) + 1) if len(occupied) else slice(0))
    box = tissue[tuple(spans)]
    count = max(1, int(box.sum()))
    z, y, x = (float((box & np.flip(box, axis)).sum()) / count for axis in range(3))
    return round(z, 4), round(y, 4), round(x, 4)


def _breadth(body: np.ndarray, axis: int, slices: np.ndarray) -> float:
    """Return the median number of columns (axis 2) or rows (axis 1) that the body covers in some slices."""
    covered = body[slices].any(axis=3 - axis)
    return float(np.median(covered.sum(axis=1))) if len(covered) else 0.0


def _base_to_apex(lung: np.ndarray, has_lung: np.ndarray) -> float:
    """Return the area of the lungs' base divided by that of their apex: above 1 if the chest is upright."""
    slices = np.flatnonzero(has_lung)
    if len(slices) < 8:
        return 1.0
    few = max(2, len(slices) // 6)
    low, high = (sum(_box(lung[number]) for number in ends) for ends in (slices[:few], slices[-few:]))
    return float(low / max(high, 1))


def _dip(areas: np.ndarray) -> float:
    """Return how far a profile falls between two rises, as a share of its maximum."""
    before, after = np.maximum.accumulate(areas), np.maximum.accumulate(areas[::-1])[::-1]
    return float((np.minimum(before, after) - areas).max() / max(1, areas.max()))


def _box(mask: np.ndarray) -> int:
    return int(mask.any(axis=0).sum() * mask.any(axis=1).sum())


def _windpipe(
    hu: np.ndarray,
    lung: np.ndarray,
    body: np.ndarray,
    spacing: tuple[float, float, float],
    lung_slices: np.ndarray,
) -> float:
    """Return the share of upper slices with an airway near the midline, minus that of lower slices."""
    from scipy import ndimage

    if len(lung_slices) < 8:
        return 0.0
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    labels = ndimage.label((hu < -700) & ~lung, structure=in_plane)[0]
    area = np.bincount(labels.ravel()) * spacing[1] * spacing[2]
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    seen = np.zeros(len(hu))
    for number, (z, y, x) in enumerate(ndimage.find_objects(labels), start=1):
        offset = abs((x.start + x.stop - 1) / 2 - middle) * spacing[2]
        long = max((y.stop - y.start) * spacing[1], (x.stop - x.start) * spacing[2])
        # the windpipe is 15 to 25 mm wide
        if 60 <= area[number] <= 600 and offset <= 30 and long <= 40:
            rows = np.flatnonzero(body[z.start].any(axis=1))
            seen[z.start] = len(rows) > 0 and rows[0] < y.start and y.stop < rows[-1]
    low, high = int(lung_slices[0]), int(lung_slices[-1])
    third = (high - low) // 3
    return float(seen[high - third : high + third].mean() - seen[max(0, low - third) : low + third].mean())


def _table(hu: np.ndarray, body: np.ndarray) -> float:
    """Return the share of the objects outside the body that are behind it; −1 if there are none."""
    from scipy import ndimage

    rows = np.flatnonzero(body.any(axis=(0, 2)))
    if not len(rows):
        return -1.0
    objects = np.nonzero((hu > -700) & ~ndimage.binary_dilation(body, iterations=2))[1]
    behind, before = np.count_nonzero(objects > rows[-1] - 3), np.count_nonzero(objects < rows[0] + 3)
    return float(behind / (behind + before)) if behind + before else -1.0


def _bone_position(
    hu: np.ndarray, body: np.ndarray, spacing: tuple[float, float, float], has_lung: np.ndarray
) -> float:
    """Return the mean position of the midline's bone from front to back; the spine outweighs the breastbone."""
    positions, weights = [], []
    for number in np.flatnonzero(has_lung):
        rows = np.flatnonzero(body[number].any(axis=1))
        columns = np.flatnonzero(body[number].any(axis=0))
        middle, half = (columns[0] + columns[-1]) / 2, 40 / spacing[2]
        strip = slice(max(0, int(middle - half)), int(middle + half) + 1)
        bone_rows = np.flatnonzero((hu[number, :, strip] > _BONE) & body[number, :, strip]) // (
            strip.stop - strip.start
        )
        if len(bone_rows) and len(rows) > 1:
            positions.append(float(np.mean((bone_rows - rows[0]) / (rows[-1] - rows[0]))))
            weights.append(len(bone_rows))
    return float(np.average(positions, weights=weights)) if weights else -1.0
