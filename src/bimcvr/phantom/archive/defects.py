"""The defects of volumes in the real archives, applied to intact phantoms.

Shares as an audit of BIMCV-R found them among 317 series whose ids were verified: 38 broken headers (33 with the total
field of view as slice distance, 5 with a bad sform), 17 with inconsistent geometry, 6 not of a chest; it names no share
for the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.phantom.archive.nifti_file import NiftiFile, read_nifti, write_nifti
from bimcvr.phantom.image.other_bodies import paint_head, paint_leg
from bimcvr.phantom.reports.findings import Rng

AIR = -1000
_PADDING = -2000


@dataclass(frozen=True)
class Defect:
    """One kind of fault.

    Attributes:
        flag: the audit's name for it, or the reason for which the reader of volumes refuses it.
        share: of the archive's volumes.
        spoil: reads an intact volume, writes the spoilt one, and returns what it did.
    """

    flag: str
    share: float
    spoil: Callable[[Path, Path, Rng], str]


def _view_as_thickness(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    spacing = image.spacing.copy()
    spacing[2] = np.clip(image.spacing[0] * image.voxels.shape[2], 180, 370)
    write_nifti(image.respaced(spacing), target)
    return f"slice distance {spacing[2]:.0f} mm: the field of view"


def _zero_sform(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    image.rows[:, 2] = 0
    write_nifti(image, target)
    return "sform with a zero column"


def _sheared_sform(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    image.rows[1, 0] = 0.5 * image.spacing[0]
    write_nifti(image, target)
    return "sform whose axes are not at right angles"


def _wrong_view(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    factor = (0.25, 2.5)[int(rng.integers(2))]
    write_nifti(image.respaced(image.spacing * (factor, factor, 1)), target)
    return f"pixels {factor} times their size"


def _not_chest(source: Path, target: Path, rng: Rng) -> str:
    body = ("head", "leg")[int(rng.integers(2))]
    image = read_nifti(source)
    spacing = np.array([2.4, 2.4, 1.9]) if body == "head" else np.array([3.6, 3.6, 4.0])
    voxels = (paint_head if body == "head" else paint_leg)(image.voxels.shape, spacing, rng)
    write_nifti(image.turned(voxels, spacing), target)
    return body


def _missing_voxels(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    share = rng.uniform(0.36, 0.55)
    slices = int(np.ceil(share * len(image.voxels)))
    if rng.random() < 0.5:
        image.voxels = image.voxels.astype(np.float32)
        image.voxels[:slices] = np.nan
        write_nifti(image, target)
        return f"{slices} slices are NaN"
    image.voxels = image.voxels.copy()
    image.voxels[-slices:] = _PADDING
    write_nifti(image, target)
    return f"{slices} slices are padding"


def _rescaled_twice(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    image.voxels = image.voxels - np.int16(1024)
    write_nifti(image, target)
    return "rescaled twice"


def _zero_based(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    image.voxels = np.maximum(image.voxels + np.int16(1024), 0).astype(np.int16)
    write_nifti(image, target)
    return "0-based"


def _eight_bit(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    image.voxels = np.rint((np.clip(image.voxels, AIR, 1000) - AIR) / 2000.0 * 255).astype(np.uint8)
    write_nifti(image, target)
    return "8-bit"


def _too_small(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    slices = int(rng.integers(30, 90))
    image.voxels = image.voxels[:slices]
    write_nifti(image, target)
    return f"{slices} slices"


def _colour(source: Path, target: Path, rng: Rng) -> str:
    image = read_nifti(source)
    grey = np.rint((np.clip(image.voxels, AIR, 1000) - AIR) / 2000.0 * 255).astype(np.uint8)
    image.voxels = np.repeat(grey[..., None], 3, axis=-1)
    write_nifti(image, target)
    return "RGB"


def _truncated(source: Path, target: Path, rng: Rng) -> str:
    whole = source.read_bytes()
    length = int(len(whole) * rng.uniform(0.2, 0.9))
    target.write_bytes(whole[:length])
    return f"{length} of {len(whole)} bytes"


def _empty(source: Path, target: Path, rng: Rng) -> str:
    target.write_bytes(b"")
    return "0 bytes"


# volumes whose stored axes are turned while the header stays the same; the detail is the type in the rotation table
ROTATION = "orientation"
DUPLICATE = "duplicate_volume"
DEFECTS: tuple[Defect, ...] = (
    Defect("slice_spacing", 0.10 * 33 / 38, _view_as_thickness),
    Defect("no_orientation", 0.10 * 3 / 38, _zero_sform),
    Defect("sheared_grid", 0.10 * 2 / 38, _sheared_sform),
    Defect("field_of_view", 0.05, _wrong_view),
    Defect("not_chest", 0.02, _not_chest),
    Defect("missing_voxels", 0.01, _missing_voxels),
    Defect("not_hu", 0.005, _rescaled_twice),
    Defect("not_hu", 0.005, _zero_based),
    Defect("not_hu", 0.005, _eight_bit),
    Defect("too_small", 0.01, _too_small),
    Defect("colour", 0.005, _colour),
    Defect("truncated", 0.005, _truncated),
    Defect("empty_file", 0.005, _empty),
)
ROTATED_SHARE, DUPLICATE_SHARE = 0.05, 0.01


def turn(image: NiftiFile, kind: str) -> NiftiFile:
    """Turn stored axes so that the rotation table's type, applied by its author's code, turns them back."""
    array, (x, y, z) = image.voxels.transpose(2, 1, 0), image.spacing
    if kind == "type_1":
        array, spacing = np.rot90(np.rot90(array[..., ::-1], -1, (0, 1)), -1, (1, 2)), (y, z, x)
    elif kind == "type_2":
        array, spacing = np.rot90(array[..., ::-1], -1, (1, 2)), (x, z, y)
    elif kind == "type_3":
        array, spacing = np.rot90(array[..., ::-1], -1, (0, 1)), (y, x, z)
    elif kind == "type_4":
        array, spacing = np.rot90(array[..., ::-1, ::-1], -1, (1, 2)), (x, z, y)
    else:
        array, spacing = np.rot90(array, -1, (0, 1)), (y, x, z)
    return image.turned(np.ascontiguousarray(array.transpose(2, 1, 0)), np.array(spacing))
