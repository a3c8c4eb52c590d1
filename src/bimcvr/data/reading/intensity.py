"""Native voxels to clean HU, a slab at a time: padding and broken voxels become air."""

import math
from collections.abc import Iterator

import numpy as np

from bimcvr.data.reading.geometry import Axes

AIR = -1000.0
# no tissue or gas is below; scanners store padding further down, filters and noise undershoot in between
LOWEST = -1024.0
# the range of 12 bits above −1024: metal beyond it would only ring through a filter
HIGHEST = 3071.0
_PADDING = -1500.0


class HUSlabs:
    """Goes through a volume once, slab by slab, as clean float32 HU, and counts what it cleaned.

    Padding is what lies below −1500 HU, or equals the value that the file declares as padding (heeded at or
    below −1000 HU only: some files declare 0, which is also water). It becomes −1000 HU, and so does what is
    not finite. What is left below −1024 HU is undershoot of noise or filters and is clipped to −1024.

    Args:
        shape: of the volume in its native axes.
        axes: how they lie in the patient.
        padding: the declared padding value in HU, if there is one.
        highest: clip above this many HU.
    """

    def __init__(self, shape: tuple[int, ...], axes: Axes, padding: float | None, highest: float) -> None:
        self._size = math.prod(shape)
        self._circle = _Circle(shape, axes)
        self._highest = highest
        self._declared = padding if padding is not None and _PADDING <= padding <= AIR else None
        self._inside = 0
        self._outside = 0
        self.not_finite = 0

    def clean(self, slabs: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each slab's first index and its clean HU, float32; it is overwritten by the next.

        Args:
            slabs: native voxels in HU, any numeric type, along the first axis in order; only read.
        """
        start = 0
        buffer = np.empty(0, dtype=np.float32)
        for slab in slabs:
            if slab.size > buffer.size:
                buffer = np.empty(slab.shape, dtype=np.float32)
            hu = buffer[: len(slab)]
            np.copyto(hu, slab, casting="unsafe")
            if slab.dtype.kind == "f":
                self._mend(hu)
                slab = hu
            # integers are half as wide: their extremes cost less than clipping what needs no clip
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

    def _mend(self, hu: np.ndarray) -> None:
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


class _Circle:
    """The reconstruction circle of the slices of a volume, whichever native axes they lie in."""

    def __init__(self, shape: tuple[int, ...], axes: Axes) -> None:
        self._shape = shape
        self._radii = []
        for native in axes.order[1:]:
            length = shape[native]
            distance = (np.arange(length, dtype=np.float32) + 0.5) / (length / 2) - 1
            self._radii.append((distance**2).reshape([length if axis == native else 1 for axis in range(3)]))

    def slab(self, start: int, stop: int) -> np.ndarray:
        """Return which voxels of a slab lie inside; broadcasts to its shape."""
        first, second = (radius[start:stop] if len(radius) > 1 else radius for radius in self._radii)
        return np.asarray(first + second <= 1)

    def voxels(self) -> int:
        """Return how many voxels of the volume lie inside."""
        mask = self.slab(0, self._shape[0])
        return int(np.count_nonzero(mask)) * (math.prod(self._shape) // mask.size)
