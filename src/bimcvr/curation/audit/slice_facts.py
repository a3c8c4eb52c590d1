"""Whether the slices of a volume belong together: jumps from one to the next, and repeated ones."""

from dataclasses import dataclass

import numpy as np

from bimcvr.data.reading.volume import NativeImage

# mm: slices are compared by the means of blocks of this side, which noise hardly changes
_BLOCK = 8.0
# mm between the voxels that are averaged
_SAMPLE = 2.0
# a jump is compared with so many changes on either side
_NEIGHBOURS = 5
SMALLEST_JUMP = 70.0
"""HU; smaller changes are no jumps, however even the slices around them are."""


@dataclass(frozen=True)
class SliceFacts:
    """How the slices of a volume follow each other, along the axis of the file that runs up the patient.

    Attributes:
        jump: the largest change in HU from one slice to the next, a mean over blocks of 8 mm.
        jump_at: the slice before it, counted from 0 as the file stores them.
        contrast: the largest ratio of a change of 70 HU or more to the median of the ten changes around it; 0 if there
            is no such change.
        contrast_at: the slice before that change.
        repeated: number of slices that are copies of another; blank slices do not count.
    """

    jump: float
    jump_at: int
    contrast: float
    contrast_at: int
    repeated: int


class SliceTally:
    """Reduces slices to blocks, slab by slab.

    Args:
        native: the volume. One whose file runs across the patient from slice to slice has no facts of its slices.
    """

    def __init__(self, native: NativeImage) -> None:
        self._applies = native.axes.order[0] == 0
        self._strides = [max(1, int(_SAMPLE / mm)) for mm in native.spacing[1:]]
        self._blocks: list[np.ndarray] = []
        self._sides = [
            max(1, min(int(_BLOCK / (mm * stride)), size // stride // 24))
            for mm, stride, size in zip(native.spacing[1:], self._strides, native.shape[1:], strict=True)
        ]

    def add(self, slab: np.ndarray) -> None:
        """Count some slices.

        Args:
            slab: clean HU (N, H, W), in order.
        """
        if not self._applies:
            return
        sampled = slab[:, :: self._strides[0], :: self._strides[1]]
        down, across = self._sides
        rows, columns = sampled.shape[1] // down, sampled.shape[2] // across
        parts = sampled[:, : rows * down, : columns * across].reshape(-1, rows, down, columns, across)
        self._blocks.append(parts.mean(axis=(2, 4), dtype=np.float32))

    def facts(self) -> SliceFacts:
        """Return the facts, once all slices are counted."""
        if not self._blocks:
            return SliceFacts(0.0, 0, 0.0, 0, 0)
        blocks = np.concatenate(self._blocks)
        blank = blocks.min(axis=(1, 2)) == blocks.max(axis=(1, 2))
        changes = np.abs(np.diff(blocks, axis=0)).mean(axis=(1, 2))
        changes[blank[1:] | blank[:-1]] = 0
        contrasts = [_contrast(changes, place) for place in range(len(changes))]
        copies = [one.tobytes() for one in blocks[~blank]]
        jump_at, contrast_at = int(np.argmax(changes)), int(np.argmax(contrasts))
        return SliceFacts(
            jump=round(float(changes[jump_at]), 1),
            jump_at=jump_at,
            contrast=round(contrasts[contrast_at], 2),
            contrast_at=contrast_at,
            repeated=len(copies) - len(set(copies)),
        )


def _contrast(changes: np.ndarray, place: int) -> float:
    around = np.delete(changes, place)[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
    if changes[place] < SMALLEST_JUMP or len(around) < _NEIGHBOURS:
        return 0.0
    return float(changes[place] / max(1.0, float(np.median(around))))
