"""Sources of native voxels, a slab at a time: a decoded image, or a NIfTI file while it is decompressed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
from isal import igzip
from isal.igzip_lib import IsalError

from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume


class ArrayVoxels(NamedTuple):
    """The voxels of a file that was decoded whole, axes (z, y, x), as stored."""

    array: np.ndarray

    def slabs(self, thickness: int) -> Iterator[np.ndarray]:
        """Yield the volume in slabs along its first axis, in order, any numeric type."""
        for start in range(0, len(self.array), thickness):
            yield self.array[start : start + thickness]


class DecodedVoxels(NamedTuple):
    """The voxels of a SimpleITK image, axes (z, y, x)."""

    image: Any

    def slabs(self, thickness: int) -> Iterator[np.ndarray]:
        """Yield the volume in slabs along its first axis, in order, any numeric type."""
        array = sitk.GetArrayViewFromImage(self.image)
        for start in range(0, len(array), thickness):
            yield array[start : start + thickness]


class StreamedVoxels(NamedTuple):
    """The voxels of a NIfTI file, axes (z, y, x), read slab by slab; the volume is never whole in memory.

    This is faster than decoding the file first, since a slab is still in the processor's cache when it is used, and
    it verifies gzip's checksum. ITK's own NIfTI reader also turns NaN silently into 0, which is water.

    Attributes:
        path: the file.
        compressed: whether the file is gzipped.
        offset: bytes before the first voxel in the uncompressed file.
        shape: of the volume.
        dtype: as stored.
        slope: factor from stored values to HU.
        intercept: added after the factor.
    """

    path: Path
    compressed: bool
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    slope: float
    intercept: float

    def slabs(self, thickness: int) -> Iterator[np.ndarray]:
        """Yield the volume in HU, in slabs along its first axis, in order; each slab overwrites the one before.

        Args:
            thickness: slices in a slab.

        Raises:
            RefusedVolume: with the reason `truncated` or `damaged`.
        """
        buffer = np.empty((thickness, *self.shape[1:]), dtype=self.dtype)
        raw = (self.slope, self.intercept) == (1, 0)
        try:
            with igzip.IGzipFile(self.path) if self.compressed else self.path.open("rb") as stream:
                stream.read(self.offset)
                for start in range(0, self.shape[0], thickness):
                    slab = buffer[: self.shape[0] - start]
                    _fill(stream, slab.view(np.uint8).data.cast("B"))
                    yield slab if raw else slab * np.float32(self.slope) + np.float32(self.intercept)
                # a gzip stream is compared with its checksum at its end only
                while stream.read(1 << 16):
                    pass
        except EOFError as error:
            raise RefusedVolume("truncated", self.path, "ends before its last voxel.", FETCH_AGAIN) from error
        # isal declares the class as an instance
        except (igzip.BadGzipFile, IsalError) as error:  # type: ignore[misc]
            raise RefusedVolume("damaged", self.path, f"fails to decompress ({error}).", FETCH_AGAIN) from error


def _fill(stream: Any, target: memoryview) -> None:
    filled = 0
    while filled < len(target):
        count = stream.readinto(target[filled:])
        if not count:
            raise EOFError
        filled += count
