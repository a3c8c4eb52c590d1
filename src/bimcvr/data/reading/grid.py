"""The regular grid of an image file: three axes, spacing in mm, direction in the patient; or a refusal."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from bimcvr.data.reading.refused import RefusedVolume, no_spacing, sheared_grid

MAX_VOXELS = 2**31
"""1,024 × 1,024 × 2,048: no scanner makes more, and a forged header must not decide how much memory is taken."""
_LONGEST_SIDE = 8192
"""A slab of slices is held in memory whole."""

NiftiForm = Literal["auto", "sform", "qform"]


class GridRules(NamedTuple):
    """Which grids are accepted.

    Attributes:
        nifti_form: what decides how the voxels of a NIfTI file lie in the patient, where it has both: `auto` takes the
            sform, and refuses a file whose forms disagree; `sform` and `qform` take that one without a comparison.
        max_voxels: larger volumes are refused, whatever their format.
    """

    nifti_form: NiftiForm = "auto"
    max_voxels: int = MAX_VOXELS

    @property
    def identity(self) -> str:
        """Text for the keys of stored results: empty for the defaults."""
        return "" if self == GridRules() else f"|{self.nifti_form}|{self.max_voxels}"


DEFAULT_RULES = GridRules()


class Grid(NamedTuple):
    """A rectangular grid of scalars in the patient.

    Attributes:
        shape: (D, H, W) voxels, axes (z, y, x) of the file.
        spacing: mm along the same axes.
        direction: (3, 3); column k is where image axis k (x, y, z) points in LPS.
        origin: the middle of the first voxel, mm x, y, z in LPS; NaN where the header has no numbers for it.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    direction: np.ndarray
    origin: tuple[float, float, float]

    @property
    def voxels(self) -> int:
        """The number of voxels."""
        return math.prod(self.shape)

    @classmethod
    def checked(
        cls,
        path: Path,
        size: Sequence[int],
        values: int,
        max_voxels: int,
        spacing: Callable[[], Sequence[float] | None],
        direction: Callable[[], np.ndarray],
        origin: Callable[[], Sequence[float]],
    ) -> "Grid":
        """Check in this order: scalars, three axes, spacing, orientation, right angles.

        Args:
            path: the file, for messages.
            size: voxels along the file's axes x, y, z and further ones, which may only have length 1.
            values: numbers a voxel.
            max_voxels: the most that are accepted.
            spacing: gives mm along the axes; None where the file has none.
            direction: gives the direction cosines, at least (3, 3), or refuses.
            origin: gives the middle of the first voxel in LPS; what is not three finite numbers becomes NaN.

        Raises:
            RefusedVolume: `colour`, `not_a_volume`, `too_large`, `no_spacing`, `no_orientation` or `sheared_grid`.
        """
        check_shape(path, size, values, max_voxels)
        across, back, up = checked_spacing(path, spacing())
        cosines = np.asarray(direction(), dtype=np.float64)[:3, :3]
        # a direction that is no unit vector is a header that was tampered with, not a grid
        if not np.allclose(np.linalg.norm(cosines, axis=0), 1, atol=1e-2):
            raise no_orientation(path, "has directions in its header that are no unit vectors")
        if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-2):
            raise sheared_grid(path)
        first = [float(number) for number in origin()[:3]]
        left, behind, above = first if len(first) == 3 and all(map(math.isfinite, first)) else [math.nan] * 3
        return cls((size[2], size[1], size[0]), (up, back, across), cosines, (left, behind, above))


def check_shape(path: Path, size: Sequence[int], values: int, max_voxels: int) -> None:
    """Refuse what is no volume of scalars.

    Args:
        path: the file, for messages.
        size: voxels along x, y, z and further axes.
        values: numbers a voxel.
        max_voxels: the most that are accepted.

    Raises:
        RefusedVolume: `colour`, `not_a_volume` or `too_large`.
    """
    if values > 1:
        raise RefusedVolume(
            "colour",
            path,
            f"has {values} values a voxel: it is a colour or vector image.",
            "Give the CT itself, one HU value a voxel.",
        )
    if len(size) < 3 or min(size[:3]) < 2 or any(length != 1 for length in size[3:]):
        raise RefusedVolume(
            "not_a_volume",
            path,
            f"is {' × '.join(map(str, size))} voxels, not three axes of at least two.",
            "Give one volume a file: single slices and time series are none.",
        )
    if math.prod(size) > max_voxels or max(size) > _LONGEST_SIDE:
        raise RefusedVolume(
            "too_large",
            path,
            f"claims {' × '.join(map(str, size))} voxels; the limits are {max_voxels:,} in all (max_voxels), and"
            f" {_LONGEST_SIDE:,} along a side.",
            "Look into its header, and cut or resample the volume if it is sound.",
        )


def checked_spacing(path: Path, spacing: Sequence[float] | None) -> tuple[float, float, float]:
    """Return the first three spacings in mm.

    Args:
        path: the file, for messages.
        spacing: as the header has it; None where it has none.

    Raises:
        RefusedVolume: `no_spacing`, there is none, or it is not finite and positive.
    """
    if spacing is None:
        raise RefusedVolume(
            "no_spacing",
            path,
            "does not say how far its voxels lie apart.",
            "Convert it again from DICOM, or write the right spacing into its header.",
        )
    first = tuple(float(value) for value in spacing[:3])
    if not all(math.isfinite(value) and value > 0 for value in first):
        raise no_spacing(path, first)
    return first[0], first[1], first[2]


def no_orientation(path: Path, what: str) -> RefusedVolume:
    """Return the refusal of a file that does not say how it lies in the patient.

    Args:
        path: the file.
        what: what is missing, as the end of a sentence that begins with the path.
    """
    return RefusedVolume(
        "no_orientation",
        path,
        f"{what}: it does not say how it lies in the patient, so left could be taken for right.",
        "Convert it again from DICOM, or write a direction that is known to be right into its header.",
    )
