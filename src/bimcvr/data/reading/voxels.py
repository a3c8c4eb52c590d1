"""Native voxels as files store them: decoded, their checksums verified, their number compared with the header.

ITK's own decoders report success on damaged zlib and gzip streams (InsightSoftwareConsortium/ITK#6575) and leave what a
short stream does not fill uninitialised.
"""

import bz2
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import SimpleITK as sitk
from isal import igzip, isal_zlib
from isal.igzip_lib import IsalError

from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

Encoding = Literal["raw", "zlib", "gzip", "bzip2"]
_CHUNK = 1 << 20
_MOST_DECODED = 1 << 24
"""Bytes decoded at a time: a chunk of a forged stream would become a gigabyte."""
_MOST_PADDING = 1 << 20
"""Zeros that may follow the voxels of a compressed file."""
_MOST_DEFLATED = 1100
"""Deflate stores at most 1,032 bytes in one."""
_WINDOW_BITS = {"zlib": 15, "gzip": 31}


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
            RefusedVolume: with the reason `truncated`, `trailing_data` or `damaged`.
        """
        buffer = np.empty((thickness, *self.shape[1:]), dtype=self.dtype)
        raw = (self.slope, self.intercept) == (1, 0)
        try:
            with igzip.IGzipFile(self.path) if self.compressed else self.path.open("rb") as stream:
                stream.read(self.offset)
                for start in range(0, self.shape[0], thickness):
                    slab = buffer[: self.shape[0] - start]
                    _read_exactly(stream, slab.view(np.uint8).data.cast("B"))
                    yield slab if raw else slab * np.float32(self.slope) + np.float32(self.intercept)
                # a gzip stream is compared with its checksum at its end only; some zeros may follow the voxels
                padding = stream.read(_MOST_PADDING)
                if padding.strip(b"\0") or stream.read(1):
                    raise trailing_data(self.path)
        except EOFError as error:
            raise RefusedVolume("truncated", self.path, "ends before its last voxel.", FETCH_AGAIN) from error
        # isal declares the class as an instance
        except (igzip.BadGzipFile, IsalError) as error:  # type: ignore[misc]
            if "Not a gzip" in str(error):  # the first member is one: its header was read
                raise trailing_data(self.path) from error
            raise RefusedVolume("damaged", self.path, f"fails to decompress ({error}).", FETCH_AGAIN) from error


def _read_exactly(stream: Any, target: memoryview) -> None:
    filled = 0
    while filled < len(target):
        count = stream.readinto(target[filled:])
        if not count:
            raise EOFError
        filled += count


def read_voxels(path: Path, stream: IO[bytes], encoding: Encoding, dtype: np.dtype, count: int) -> np.ndarray:
    """Read exactly so many numbers from the rest of a file.

    Args:
        path: the file, for messages.
        stream: the open file, where the voxels begin; it is read to its end.
        encoding: how they are compressed.
        dtype: of a number as stored, with its byte order.
        count: how many numbers the header promises.

    Returns:
        (count,) of `dtype`.

    Raises:
        RefusedVolume: `truncated` where there are fewer, `trailing_data` where there is more, `damaged` where the
            stream does not decompress or its checksum differs.
    """
    promised = count * dtype.itemsize
    if encoding != "bzip2":
        held = os.fstat(stream.fileno()).st_size - stream.tell()
        refuse_impossible(path, held, promised, encoding != "raw")
    buffer = np.empty(promised, dtype=np.uint8)
    target = buffer.data.cast("B")
    filled = _copy(stream, target) if encoding == "raw" else _decompress(path, stream, encoding, target)
    if filled < promised:
        raise _too_short(path, promised)
    if encoding == "raw" and stream.read(1):
        raise trailing_data(path)
    return buffer.view(dtype)


def refuse_impossible(path: Path, held: int, promised: int, compressed: bool) -> None:
    """Refuse, before anything is allocated, a header that promises more voxels than its file can hold.

    Args:
        path: the file.
        held: bytes in it.
        promised: bytes of voxels by its header.
        compressed: whether they are deflated, at most a thousandfold.

    Raises:
        RefusedVolume: `truncated`.
    """
    if held * (_MOST_DEFLATED if compressed else 1) < promised:
        raise _too_short(path, promised)


def _too_short(path: Path, promised: int) -> RefusedVolume:
    wrong = f"ends before the {promised:,} bytes of voxels that its header promises."
    return RefusedVolume("truncated", path, wrong, FETCH_AGAIN)


def trailing_data(path: Path) -> RefusedVolume:
    """Return the refusal of a file that is longer than its header says: its voxels may be shifted."""
    return RefusedVolume(
        "trailing_data",
        path,
        "is longer than its header says, so that its voxels may be shifted or another image's.",
        FETCH_AGAIN,
    )


def _copy(stream: IO[bytes], target: memoryview) -> int:
    filled = 0
    while filled < len(target):
        count: int = stream.readinto(target[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def _decompress(path: Path, stream: IO[bytes], encoding: Encoding, target: memoryview) -> int:
    """Fill the target from a compressed stream and verify its end; return how much was filled."""
    filled = 0
    full = False
    decoder = _decoder(encoding)
    try:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            data = chunk
            while data or full or not getattr(decoder, "needs_input", True):
                # one byte more than fits: a stream that goes on is told from one that ends
                room = len(target) - filled + 1
                decoded = decoder.decompress(data, min(room, _MOST_DECODED))
                full = len(decoded) == _MOST_DECODED
                if len(decoded) >= room:
                    raise RefusedVolume(
                        "damaged", path, f"inflates to more than the {len(target):,} bytes of its grid.", FETCH_AGAIN
                    )
                target[filled : filled + len(decoded)] = decoded
                filled += len(decoded)
                data = getattr(decoder, "unconsumed_tail", b"")
                if decoder.eof:
                    break
            if decoder.eof:
                _refuse_rest(path, decoder.unused_data, stream)
                return filled
    except (IsalError, OSError, ValueError) as error:  # type: ignore[misc]  # isal declares the class as an instance
        raise RefusedVolume("damaged", path, f"fails to decompress ({error}).", FETCH_AGAIN) from error
    if filled == len(target):
        raise RefusedVolume("damaged", path, "ends before the checksum of its voxels.", FETCH_AGAIN)
    return filled


def _decoder(encoding: Encoding) -> Any:
    return bz2.BZ2Decompressor() if encoding == "bzip2" else isal_zlib.decompressobj(_WINDOW_BITS[encoding])


def _refuse_rest(path: Path, unused: bytes, stream: IO[bytes]) -> None:
    """Let zeros pass behind a whole stream, as gzip(1) does: tapes and block devices pad with them."""
    for chunk in (unused, *iter(lambda: stream.read(_CHUNK), b"")):
        if chunk.strip(b"\0"):
            raise trailing_data(path)
