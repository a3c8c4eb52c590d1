"""From native voxels to clean HU, a slab at a time: padding and voxels that are not finite become air."""

import math
from collections.abc import Iterator

import numpy as np

from bimcvr.data.hu.geometry import Axes
from bimcvr.data.hu.reconstruction_circle import ReconstructionCircle

AIR = -1000.0
# no tissue or gas is below; padding is stored further down, and between the two lies undershoot of filters and noise
LOWEST = -1024.0
# the range of 12 bits above −1024: metal beyond it would only ring through a filter
HIGHEST = 3071.0
_PADDING = -1500.0


class HUSlabs:
    """Cleans the slabs of a volume, which are passed through it once, and counts what it replaced.

    Padding is every voxel below −1500 HU, or with the value that the file declares as padding (respected outside
    of −1000 … 3071 HU only: some files declare 0, which is also water). Padding and voxels that are not finite become
    −1000 HU. Other voxels below −1024 HU are undershoot of noise or filters and are clipped to −1024.

    Args:
        shape: of the volume in its native axes.
        axes: how they lie in the patient.
        padding: the declared padding value in HU, if there is one.
        highest: clip above this many HU.
    """

    def __init__(self, shape: tuple[int, ...], axes: Axes, padding: float | None, highest: float) -> None:
        self._size = math.prod(shape)
        self._circle = ReconstructionCircle(shape, axes)
        self._highest = highest
        self._declared = padding if padding is not None and (padding <= AIR or padding > HIGHEST) else None
        self._inside = 0
        self._outside = 0
        self.not_finite = 0

    def clean(self, slabs: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each slab's first index and its clean HU, float32; the next slab overwrites it.

        Args:
            slabs: native voxels in HU, any numeric type, in order along the first axis; they are not changed.
        """
        start = 0
        buffer = np.empty(0, dtype=np.float32)
        for slab in slabs:
            if slab.size > buffer.size:
                buffer = np.empty(slab.shape, dtype=np.float32)
            hu = buffer[: len(slab)]
            np.copyto(hu, slab, casting="unsafe")
            if slab.dtype.kind == "f":
                self._replace_not_finite(hu)
                slab = hu
            # int16 is half as wide as float32: finding its extremes costs less than a clip that is not needed
            lowest, highest = slab.min(), slab.max()
            if self._declared is not None:
                self._pad(hu, start, hu == self._declared)
            if lowest < _PADDING:
                self._pad(hu, start, hu < _PADDING)
            if lowest < LOWEST or highest > self._highest:
                np.clip(hu, LOWEST, self._highest, out=hu)
            yield start, hu
            start += len(slab)

    def padding_shares(self) -> tuple[float, float]:
        """Return the shares of padding inside and outside the reconstruction circle, once all is read."""
        inside = self._circle.voxels()
        return self._inside / max(inside, 1), self._outside / max(self._size - inside, 1)

    def _replace_not_finite(self, hu: np.ndarray) -> None:
        broken = ~np.isfinite(hu)
        if broken.any():
            self.not_finite += int(np.count_nonzero(broken))
            hu[broken] = AIR

    def _pad(self, hu: np.ndarray, start: int, padding: np.ndarray) -> None:
        count = int(np.count_nonzero(padding))
        if count:
            inside = int(np.count_nonzero(padding & self._circle.slab(start, start + len(hu))))
            self._inside += inside
            self._outside += count - inside
            hu[padding] = AIR
