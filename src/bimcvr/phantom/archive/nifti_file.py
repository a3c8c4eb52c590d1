"""A NIfTI-1 file taken apart, so that single header fields can be spoilt as real archives have them spoilt."""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.atomic_files import replacing

_TYPES = {"uint8": (2, 8), "int16": (4, 16), "float32": (16, 32)}
_DIM, _TYPE, _PIXDIM, _QFORM, _SFORM = 40, 70, 76, 252, 280


@dataclass
class NiftiFile:
    """A volume as it lies in its file.

    Attributes:
        voxels: axes (z, y, x) as stored.
        spacing: mm along x, y and z.
        rows: the sform's three rows of four.
        header: the other fields, as bytes.
    """

    voxels: np.ndarray
    spacing: np.ndarray
    rows: np.ndarray
    header: bytes

    def turned(self, voxels: np.ndarray, spacing: np.ndarray) -> "NiftiFile":
        """Return other voxels under the same axes: the header's directions stay, whatever was done to the voxels."""
        rows = self.rows.copy()
        rows[:, :3] = np.diag(np.sign(np.diag(self.rows[:, :3])) * spacing)
        return NiftiFile(voxels, spacing, rows, self.header)

    def respaced(self, spacing: np.ndarray) -> "NiftiFile":
        """Return the same voxels with other distances between them."""
        return self.turned(self.voxels, spacing)


def read_nifti(path: Path) -> NiftiFile:
    """Read an int16 NIfTI-1 file as the phantom writes them."""
    raw = gzip.decompress(path.read_bytes())
    width, height, depth = struct.unpack_from("<3h", raw, _DIM + 2)
    spacing = np.array(struct.unpack_from("<3f", raw, _PIXDIM + 4))
    rows = np.array(struct.unpack_from("<12f", raw, _SFORM)).reshape(3, 4)
    voxels = np.frombuffer(raw, dtype="<i2", offset=352).reshape(depth, height, width)
    return NiftiFile(voxels, spacing, rows, raw[:352])


def write_nifti(image: NiftiFile, path: Path, colours: int = 1) -> None:
    """Write a compressed NIfTI-1 file; the sform alone places it.

    Args:
        image: the volume; with `colours` 3 its last axis is red, green and blue.
        path: the file.
        colours: values a voxel.
    """
    header = bytearray(image.header)
    kind, bits = (128, 24) if colours == 3 else _TYPES[image.voxels.dtype.name]
    struct.pack_into("<4h", header, _DIM, 3, *image.voxels.shape[2::-1])
    struct.pack_into("<2h", header, _TYPE, kind, bits)
    struct.pack_into("<4f", header, _PIXDIM, 1.0, *image.spacing)
    struct.pack_into("<2h", header, _QFORM, 0, 1)
    struct.pack_into("<12f", header, _SFORM, *image.rows.ravel())
    with replacing(path) as temporary:
        temporary.write_bytes(
            gzip.compress(bytes(header) + np.ascontiguousarray(image.voxels).tobytes(), compresslevel=1, mtime=0)
        )
