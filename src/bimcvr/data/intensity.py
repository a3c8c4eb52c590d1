"""Native voxels to clean HU, a slab at a time: padding and broken voxels become air."""

from typing import Any

import numpy as np

from bimcvr.data.geometry import Axes

AIR = -1000.0
# no tissue or gas is below; scanners store padding further down, filters and noise undershoot in between
LOWEST = -1024.0
# the range of 12 bits above −1024: metal beyond it would only ring through a filter
HIGHEST = 3071.0
_PADDING = -1500.0


class HUSlabs:
    """Hands out slabs of an array as clean float32 HU, and counts what it cleaned.

    Padding is what lies below −1500 HU, or equals the value that the file declares as padding (heeded at or
    below −1000 HU only: some files declare 0, which is also water). It becomes −1000 HU, and so does what is
    not finite. What is left below −1024 HU is undershoot of noise or filters and is clipped to −1024.

    Args:
        array: (A, B, C) native voxels in HU, any numeric type; only read.
        axes: how they lie in the patient.
        padding: the declared padding value in HU, if there is one.
        highest: clip above this many HU.
    """

    def __init__(self, array: np.ndarray, axes: Axes, padding: float | None, highest: float) -> None:
        self._array = array
        self._highest = highest
        self._declared = padding if padding is not None and _PADDING <= padding <= AIR else None
        self._radii = _squared_radii(array.shape, axes)
        self._inside = 0
        self._outside = 0
        self.not_finite = 0

    def read(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """Return array[start:stop] as clean HU.

        Args:
            start: first index along the first axis.
            stop: the index after the last.
            out: float32 (at least stop - start, B, C), overwritten; the result is a view of it.
        """
        hu = out[: stop - start]
        np.copyto(hu, self._array[start:stop], casting="unsafe")
        if self._array.dtype.kind == "f":
            self._mend(hu)
        if self._declared is not None:
            self._pad(hu, start, hu == self._declared)
        if hu.min() < LOWEST:
            self._pad(hu, start, hu < _PADDING)
        np.clip(hu, LOWEST, self._highest, out=hu)
        return hu

    def padding_shares(self) -> tuple[float, float]:
        """Return the shares of padding inside and outside the reconstruction circle, once all is read."""
        inside = int(np.count_nonzero(np.broadcast_to(_in_circle(self._radii), self._array.shape)))
        outside = self._array.size - inside
        return self._inside / max(inside, 1), self._outside / max(outside, 1)

    def _mend(self, hu: np.ndarray) -> None:
        broken = ~np.isfinite(hu)
        if broken.any():
            self.not_finite += int(np.count_nonzero(broken))
            hu[broken] = AIR

    def _pad(self, hu: np.ndarray, start: int, padding: np.ndarray) -> None:
        count = int(np.count_nonzero(padding))
        if count:
            circle = _in_circle([r[start : start + len(hu)] if r.shape[0] > 1 else r for r in self._radii])
            inside = int(np.count_nonzero(padding & circle))
            self._inside += inside
            self._outside += count - inside
            hu[padding] = AIR


def _squared_radii(shape: tuple[int, ...], axes: Axes) -> list[np.ndarray]:
    """For the two axes of the slice: squared distance from the centre in half widths, shaped to broadcast."""
    radii = []
    for native in axes.order[1:]:
        length = shape[native]
        distance = (np.arange(length, dtype=np.float32) + 0.5) / (length / 2) - 1
        radii.append((distance**2).reshape([length if axis == native else 1 for axis in range(3)]))
    return radii


def _in_circle(radii: list[np.ndarray]) -> Any:
    return radii[0] + radii[1] <= 1
