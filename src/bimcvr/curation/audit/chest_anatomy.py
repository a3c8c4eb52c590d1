"""Is this a chest, and which way up? Measured on a coarse copy of a volume: a few numbers, no verdict."""

from dataclasses import dataclass

import numpy as np

# halfway between lung (−850) and soft tissue (50)
_TISSUE = -400.0
# air is −1000, aerated lung −700 to −900 and −950 where emphysema begins (Gevenois 1995). Measured in real volumes,
# rims aside: regions of lung −770 to −950, −973 in one emphysematous apex; gas in bowel −969 to −991
_LUNG_MEAN = -966.0
# thinner than this is a table's core, a fold of the bedding, bowel or an airway
_THICK = 24.0
# compact bone, above most contrast medium in the heart
_BONE = 350.0
# a part of the lungs that counts, in mL
_PART = 50.0


@dataclass(frozen=True)
class ChestFacts:
    """What a coarse look at a volume shows; lengths in mm, axes in canonical order.

    Attributes:
        lung_share: largest share of lung in the body's cross-section, over the slices.
        lung_extent: mm along z over which lung is at least a tenth of the cross-section.
        lung_span: the same as a share of all slices.
        lung_ends: share of lung in the body's cross-section in the lowest and in the topmost slices.
        lung_ml: volume of the aerated lung.
        lung_hu: its mean density; 0 where there is none.
        lung_parts: connected parts of at least 50 mL.
        cut: for z, y and x, how much of the volume's end faces the body covers, of the emptier of the two.
        mirror: for z, y and x, how much of the tissue falls on tissue when it is mirrored along the axis.
        width: the body's median breadth along x, over the slices with lung, or over all where there is none.
        depth: the same along y.
        base_to_apex: area of the box around the lungs near their lower end, divided by that near their upper end.
        windpipe: in how many of the slices in and above the lungs' upper third a cut of an airway is seen near the
            midline, less the same in and below their lower third, as shares.
        bone: where the bone of the midline lies between the body's front (0) and back (1); −1 if it cannot be told.
        table: of what lies before or behind the body (table, bedding), the share that lies behind; −1 if nothing does.
    """

    lung_share: float
    lung_extent: float
    lung_span: float
    lung_ends: tuple[float, float]
    lung_ml: float
    lung_hu: float
    lung_parts: int
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
    tissue = _largest(hu > _TISSUE)
    body = lung | tissue
    areas = lung.sum(axis=(1, 2))
    shares = areas / np.maximum(body.sum(axis=(1, 2)), 1)
    bearing = shares >= 0.1
    voxel = float(np.prod(spacing)) / 1000
    parts = np.bincount(ndimage.label(lung)[0].ravel())[1:]
    chosen = bearing if bearing.any() else body.any(axis=(1, 2))
    width, depth = (_breadth(body, axis, chosen) * spacing[axis] for axis in (2, 1))
    return ChestFacts(
        lung_share=round(float(ndimage.median_filter(shares, 3).max()), 4),
        lung_extent=round(float(bearing.sum()) * spacing[0], 1),
        lung_span=round(float(bearing.mean()), 4),
        lung_ends=(round(float(np.median(shares[:3])), 4), round(float(np.median(shares[-3:])), 4)),
        lung_ml=round(float(areas.sum()) * voxel, 1),
        lung_hu=round(float(hu[lung].mean()), 1) if lung.any() else 0.0,
        lung_parts=int((parts * voxel >= _PART).sum()),
        cut=_cut_faces(body),
        mirror=_mirrored(tissue),
        width=round(width, 1),
        depth=round(depth, 1),
        base_to_apex=round(_base_to_apex(lung, bearing), 3),
        windpipe=round(_windpipe(hu, lung, body, spacing, np.flatnonzero(bearing)), 3),
        bone=round(_bone_position(hu, body, spacing, bearing), 3),
        table=round(_table(hu[chosen], body[chosen]), 3),
    )


def lung_mask(hu: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the aerated lung: thick regions of each axial slice that are of lung's density and not the room.

    Slice by slice, since the windpipe joins lungs and room in three dimensions.

    Args:
        hu: clean HU, (D, H, W) in canonical axes.
        spacing: mm along the same axes.
    """
    from scipy import ndimage

    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    # without walls of one or two voxels: a table's shell must not enclose the cushion that it bears
    walls = ndimage.binary_opening(hu > _TISSUE, structure=in_plane[1:2])
    labels, count = ndimage.label(~walls, structure=in_plane)
    if not count:
        return np.zeros(hu.shape, dtype=bool)
    core = ndimage.binary_erosion(hu <= _TISSUE, structure=in_plane[1:2])
    size = np.bincount(labels[core], minlength=count + 1)
    mean = np.bincount(labels[core], weights=hu[core], minlength=count + 1) / np.maximum(size, 1)
    like_lung = (mean > _LUNG_MEAN) & (size > 0)
    # bedding is as dense as lung, so what reaches the border is the room, even where a narrow field cuts a lung
    for face in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        like_lung[face] = False
    like_lung[0] = False
    return np.asarray(ndimage.binary_opening(like_lung[labels], structure=_disk(_THICK / 2, spacing)))


def _disk(radius: float, spacing: tuple[float, float, float]) -> np.ndarray:
    reach = [int(radius / mm) for mm in spacing[1:]]
    y, x = (np.arange(-steps, steps + 1) * mm for steps, mm in zip(reach, spacing[1:], strict=True))
    return np.asarray((y[:, None] ** 2 + x[None, :] ** 2 <= radius**2)[None])


def _largest(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels = ndimage.label(mask)[0]
    size = np.bincount(labels.ravel())
    size[0] = 0
    return np.asarray((labels == size.argmax()) & mask)


def _cut_faces(body: np.ndarray) -> tuple[float, float, float]:
    z, y, x = (float(min(np.take(body, 0, axis).mean(), np.take(body, -1, axis).mean())) for axis in range(3))
    return round(z, 4), round(y, 4), round(x, 4)


def _mirrored(tissue: np.ndarray) -> tuple[float, float, float]:
    """Mirror within the box round the tissue."""
    spans = []
    for axis in range(3):
        seen = np.flatnonzero(tissue.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0))
    box = tissue[tuple(spans)]
    count = max(1, int(box.sum()))
    z, y, x = (float((box & np.flip(box, axis)).sum()) / count for axis in range(3))
    return round(z, 4), round(y, 4), round(x, 4)


def _breadth(body: np.ndarray, axis: int, slices: np.ndarray) -> float:
    """Return the median number of columns (axis 2) or rows (axis 1) that the body spans in some slices."""
    seen = body[slices].any(axis=3 - axis)
    return float(np.median(seen.sum(axis=1))) if len(seen) else 0.0


def _base_to_apex(lung: np.ndarray, bearing: np.ndarray) -> float:
    """Lungs taper upwards, and end wide around the diaphragm: the ratio is above 1 in a chest that stands upright."""
    slices = np.flatnonzero(bearing)
    if len(slices) < 8:
        return 1.0
    few = max(2, len(slices) // 6)
    low, high = (sum(_box(lung[place]) for place in some) for some in (slices[:few], slices[-few:]))
    return float(low / max(high, 1))


def _box(mask: np.ndarray) -> int:
    return int(mask.any(axis=0).sum() * mask.any(axis=1).sum())


def _windpipe(
    hu: np.ndarray,
    lung: np.ndarray,
    body: np.ndarray,
    spacing: tuple[float, float, float],
    bearing: np.ndarray,
) -> float:
    from scipy import ndimage

    if len(bearing) < 8:
        return 0.0
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    labels = ndimage.label((hu < -700) & ~lung, structure=in_plane)[0]
    area = np.bincount(labels.ravel()) * spacing[1] * spacing[2]
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    seen = np.zeros(len(hu))
    for number, (z, y, x) in enumerate(ndimage.find_objects(labels), start=1):
        aside = abs((x.start + x.stop - 1) / 2 - middle) * spacing[2]
        long = max((y.stop - y.start) * spacing[1], (x.stop - x.start) * spacing[2])
        # the windpipe is 15 to 25 mm wide
        if 60 <= area[number] <= 600 and aside <= 30 and long <= 40:
            rows = np.flatnonzero(body[z.start].any(axis=1))
            seen[z.start] = len(rows) > 0 and rows[0] < y.start and y.stop < rows[-1]
    low, high = int(bearing[0]), int(bearing[-1])
    third = (high - low) // 3
    return float(seen[high - third : high + third].mean() - seen[max(0, low - third) : low + third].mean())


def _table(hu: np.ndarray, body: np.ndarray) -> float:
    from scipy import ndimage

    rows = np.flatnonzero(body.any(axis=(0, 2)))
    if not len(rows):
        return -1.0
    things = np.nonzero((hu > -700) & ~ndimage.binary_dilation(body, iterations=2))[1]
    behind, before = np.count_nonzero(things > rows[-1] - 3), np.count_nonzero(things < rows[0] + 3)
    return float(behind / (behind + before)) if behind + before else -1.0


def _bone_position(hu: np.ndarray, body: np.ndarray, spacing: tuple[float, float, float], bearing: np.ndarray) -> float:
    """The spine outweighs the breastbone."""
    positions, weights = [], []
    for place in np.flatnonzero(bearing):
        rows = np.flatnonzero(body[place].any(axis=1))
        columns = np.flatnonzero(body[place].any(axis=0))
        middle, half = (columns[0] + columns[-1]) / 2, 40 / spacing[2]
        strip = slice(max(0, int(middle - half)), int(middle + half) + 1)
        found = np.flatnonzero((hu[place, :, strip] > _BONE) & body[place, :, strip]) // (strip.stop - strip.start)
        if len(found) and len(rows) > 1:
            positions.append(float(np.mean((found - rows[0]) / (rows[-1] - rows[0]))))
            weights.append(len(found))
    return float(np.average(positions, weights=weights)) if weights else -1.0
