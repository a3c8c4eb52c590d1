"""The circle that a scanner reconstructs: what lies outside of it in a slice is often padding."""

import math

import numpy as np

from bimcvr.data.hu.geometry import Axes


class ReconstructionCircle:
    """The ellipse that touches the four sides of each axial slice, whichever native axes the slices lie in.

    Args:
        shape: of the volume in its native axes.
        axes: how they lie in the patient.
    """

    def __init__(self, shape: tuple[int, ...], axes: Axes) -> None:
        self._shape = shape
        self._distances = []
        for native in axes.order[1:]:
            length = shape[native]
            distance = (np.arange(length, dtype=np.float32) + 0.5) / (length / 2) - 1
            self._distances.append((distance**2).reshape([length if axis == native else 1 for axis in range(3)]))

    def slab(self, start: int, stop: int) -> np.ndarray:
        """Return which voxels of a slab along the first native axis lie inside: bool, broadcasts to its shape."""
        first, second = (distance[start:stop] if len(distance) > 1 else distance for distance in self._distances)
        return np.asarray(first + second <= 1)

    def voxels(self) -> int:
        """Return how many voxels of the volume lie inside."""
        mask = self.slab(0, self._shape[0])
        return int(np.count_nonzero(mask)) * (math.prod(self._shape) // mask.size)
