"""Every few voxels of a volume, picked while its slabs pass: enough to find lungs and body."""

import numpy as np

from bimcvr.data.hu.geometry import Axes

# mm between the voxels that are kept
_COARSE = 4.0


class CoarseCopy:
    """A copy of a volume with voxels of about 4 mm, at least 48 along an axis where the volume has as many.

    Args:
        shape: of the volume in its native axes.
        spacing: mm along the same axes.
        axes: how they lie in the patient.
    """

    def __init__(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], axes: Axes) -> None:
        self._shape, self._axes = shape, axes
        self._steps = [max(1, min(int(_COARSE / mm), length // 48)) for mm, length in zip(spacing, shape, strict=True)]
        self._samples: list[np.ndarray] = []
        depth, height, width = (spacing[axis] * self._steps[axis] for axis in axes.order)
        self.spacing: tuple[float, float, float] = (depth, height, width)

    def add(self, start: int, slab: np.ndarray) -> None:
        """Pick voxels from a slab of clean HU that begins at index `start` of the first native axis."""
        z, y, x = self._steps
        self._samples.append(slab[-start % z :: z, ::y, ::x].copy())

    def hu(self) -> np.ndarray:
        """Return the copy (D, H, W) in canonical axes, once all slabs have passed."""
        return self._axes.canonical(np.concatenate(self._samples))

    def positions(self) -> list[np.ndarray]:
        """Return, for D, H and W, where the copy's voxels lie: source voxels from the canonical axis' first face."""
        found = []
        for axis, flipped in zip(self._axes.order, self._axes.flipped, strict=True):
            native = np.arange(0, self._shape[axis], self._steps[axis]) + 0.5
            found.append(self._shape[axis] - native[::-1] if flipped else native)
        return found
