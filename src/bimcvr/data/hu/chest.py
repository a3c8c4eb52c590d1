"""Lungs and body on a coarse copy of a volume."""

import numpy as np

TISSUE = -400.0
"""HU halfway between lung (−850) and soft tissue (50)."""
# air is −1000, aerated lung −700 to −900 and −950 where emphysema begins (Gevenois 1995). Measured in real volumes,
# without rims: regions of lung −770 to −950, −973 in one emphysematous apex; gas in bowel −969 to −991
_LUNG_MEAN = -966.0
# mm; thinner regions are a table's core, a fold of the bedding, bowel or an airway
_THICK = 24.0


def lung_mask(hu: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the aerated lung: thick regions of each axial slice with the density of lung that are not outside air.

    Slice by slice, since the windpipe connects lungs and outside air in three dimensions.

    Args:
        hu: clean HU, (D, H, W) in canonical axes, coarse: voxels of about 4 mm are enough.
        spacing: mm along the same axes.
    """
    from scipy import ndimage

    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    # without walls of one or two voxels: a table's shell must not enclose the cushion on it
    walls = ndimage.binary_opening(hu > TISSUE, structure=in_plane[1:2])
    labels, count = ndimage.label(~walls, structure=in_plane)
    if not count:
        return np.zeros(hu.shape, dtype=bool)
    core = ndimage.binary_erosion(hu <= TISSUE, structure=in_plane[1:2])
    size = np.bincount(labels[core], minlength=count + 1)
    mean = np.bincount(labels[core], weights=hu[core], minlength=count + 1) / np.maximum(size, 1)
    like_lung = (mean > _LUNG_MEAN) & (size > 0)
    # bedding is as dense as lung, so what reaches the border is outside, even where a narrow field cuts a lung
    for face in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        like_lung[face] = False
    like_lung[0] = False
    return np.asarray(ndimage.binary_opening(like_lung[labels], structure=_disk(_THICK / 2, spacing)))


def tissue_mask(hu: np.ndarray) -> np.ndarray:
    """Return the largest connected region above −400 HU: the body without its lungs, and without the table.

    Args:
        hu: clean HU, (D, H, W).
    """
    from scipy import ndimage

    mask = hu > TISSUE
    labels = ndimage.label(mask)[0]
    size = np.bincount(labels.ravel())
    size[0] = 0
    return np.asarray((labels == size.argmax()) & mask)


def _disk(radius: float, spacing: tuple[float, float, float]) -> np.ndarray:
    reach = [int(radius / mm) for mm in spacing[1:]]
    y, x = (np.arange(-steps, steps + 1) * mm for steps, mm in zip(reach, spacing[1:], strict=True))
    return np.asarray((y[:, None] ** 2 + x[None, :] ** 2 <= radius**2)[None])
