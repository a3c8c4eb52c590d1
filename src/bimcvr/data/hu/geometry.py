"""Orientation of a volume: how native axes map to the patient's, and a record of the source grid."""

from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

_LETTERS = ("RL", "AP", "IS")


@dataclass(frozen=True)
class Geometry:
    """The source grid, in the canonical order of axes; `dataclasses.asdict` of it can be written as JSON.

    Attributes:
        native_size: (D, H, W) voxels before any resize.
        native_spacing: mm between voxels along (D, H, W).
        orientation: where the file's own x, y and z axes point (`LPS`: no flip was needed).
        obliquity: largest angle in degrees between an axis and the patient's axis that it is taken for. The
            axes are permuted and flipped, never rotated.
        tilt: angle in degrees between the stack of DICOM slices and their normal (0 for other formats).
        jitter: largest distance in mm of a DICOM slice from the regular grid (0 for other formats).
        padding_inside: share of the voxels inside the reconstruction circle (the ellipse that touches the
            slice's four sides) that were padding.
        padding_outside: the same share outside the circle.
        not_finite: number of NaN and infinite voxels, which became air.
        notes: what was skipped or is unusual, in words.
    """

    native_size: tuple[int, int, int]
    native_spacing: tuple[float, float, float]
    orientation: str
    obliquity: float
    tilt: float
    jitter: float
    padding_inside: float
    padding_outside: float
    not_finite: int
    notes: tuple[str, ...] = ()


class Axes(NamedTuple):
    """How to bring a native array to canonical axes: transpose by `order`, then flip where `flipped`.

    Canonical is (D, H, W) = (inferior to superior, anterior to posterior, right to left).

    Attributes:
        order: for each canonical axis, the native array axis.
        flipped: for each canonical axis, whether it runs the other way.
        letters: where the file's own x, y and z axes point.
        obliquity: largest angle in degrees between a native axis and the patient's axis that it is taken for.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    letters: str
    obliquity: float

    def canonical(self, array: np.ndarray) -> np.ndarray:
        """Return a native array (any three axes) as a canonical (D, H, W) view of it."""
        return array.transpose(self.order)[self._flips()]

    def native(self, array: np.ndarray) -> np.ndarray:
        """Return a canonical array (D, H, W) as a view of it in native axes: the inverse of `canonical`."""
        back = [self.order.index(axis) for axis in range(3)]
        return array[self._flips()].transpose(back)

    def _flips(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)


def axes_of(direction: np.ndarray) -> Axes:
    """Find the permutation and flips that bring an image nearest to canonical axes.

    Args:
        direction: ITK's direction cosines, (3, 3); column k is where image axis k (x, y, z) points in LPS.
            The array's axes are in reverse order: (z, y, x). Left-handed matrices are accepted.
    """
    best = max(permutations(range(3)), key=lambda axes: float(sum(abs(direction[w, axes[w]]) for w in range(3))))
    cosines = [float(direction[world, axis]) for world, axis in enumerate(best)]
    letters = [""] * 3
    for world, axis in enumerate(best):
        letters[axis] = _LETTERS[world][int(cosines[world] > 0)]
    across, back, up = (2 - axis for axis in best)
    right, front, down = (cosine < 0 for cosine in cosines)
    obliquity = float(np.degrees(np.arccos(min(1.0, min(abs(cosine) for cosine in cosines)))))
    return Axes((up, back, across), (down, front, right), "".join(letters), round(obliquity, 3))
