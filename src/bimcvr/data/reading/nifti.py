"""Strict checks of a NIfTI header: the file must be complete, and its orientation in the patient must be stated."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume, no_spacing, sheared_grid
from bimcvr.data.reading.voxels import StreamedVoxels

_RIGHT_AFFINE = "Convert it again from DICOM, or write an affine that is known to be right."
# (type, offset) of: data type and bits a voxel, dim, pixdim, vox_offset, scl_slope and scl_inter, qform_code and
# sform_code, the rows of the sform
_NIFTI_1 = (("2h", 70), ("8h", 40), ("8f", 76), ("f", 108), ("2f", 112), ("2h", 252), ("12f", 280))
_NIFTI_2 = (("2h", 12), ("8q", 16), ("8d", 104), ("q", 168), ("2d", 176), ("2i", 344), ("12d", 400))
# 1,024 × 1,024 × 2,048: more than any scanner reconstructs; a forged header must not decide how much memory is taken
_MOST_VOXELS = 2**31
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}


class _Header(NamedTuple):
    """The fields of a header that are used; `length` is the size of the whole uncompressed file in bytes."""

    length: int
    stored: str
    scaling: tuple[float, float]
    offset: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    qform: int
    sform: int
    affine: np.ndarray


def check_nifti(path: Path) -> StreamedVoxels | None:
    """Refuse a NIfTI file that is cut short, or whose header does not say how its voxels lie in the patient.

    Args:
        path: a `.nii` or `.nii.gz` file.

    Returns:
        The voxels, if they are real numbers on three axes; None for other types, which SimpleITK reads.

    Raises:
        RefusedVolume: with the reason `unreadable`, `truncated`, `too_large`, `no_spacing`,
            `no_orientation` or `sheared_grid`.
    """
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    header = _read_header(path, compressed)
    voxels = math.prod(header.shape)
    if voxels > _MOST_VOXELS:
        raise RefusedVolume(
            "too_large",
            path,
            f"claims {voxels:,} voxels; at most {_MOST_VOXELS:,} are read.",
            "Check its header; if it is right, crop or resample the volume.",
        )
    complete = _gzip_is_complete(path, header.length) if compressed else path.stat().st_size >= header.length
    if not complete:
        raise RefusedVolume(
            "truncated", path, f"ends before the {header.length} bytes that its header promises.", FETCH_AGAIN
        )
    _check_orientation(path, header)
    if not header.stored or len(header.shape) < 3 or max(header.shape[3:], default=1) > 1:
        return None
    width, height, depth = header.shape[:3]
    slope, intercept = header.scaling
    return StreamedVoxels(
        path, compressed, header.offset, (depth, height, width), np.dtype(header.stored), slope, intercept
    )


def _read_header(path: Path, compressed: bool) -> _Header:
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            raw = stream.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedVolume("truncated", path, f"cannot be decompressed ({error}).", FETCH_AGAIN) from error
    for order in "<>":
        if len(raw) >= 348 and struct.unpack_from(order + "i", raw)[0] == 348:
            return _parse(path, order, raw, _NIFTI_1)
        if len(raw) >= 540 and struct.unpack_from(order + "i", raw)[0] == 540:
            return _parse(path, order, raw, _NIFTI_2)
    if len(raw) < 348:
        raise RefusedVolume("truncated", path, "ends within its header.", FETCH_AGAIN)
    raise RefusedVolume("unreadable", path, "does not begin with a NIfTI header.", FETCH_AGAIN)


def _parse(path: Path, order: str, raw: bytes, layout: tuple[tuple[str, int], ...]) -> _Header:
    fields: list[Any] = [struct.unpack_from(order + kind, raw, offset) for kind, offset in layout]
    (kind, bits), dim, pixdim, (offset,), (slope, intercept), (qform, sform), rows = fields
    # the voxels follow the header; with a smaller offset, bytes of the header would be read as HU
    if not math.isfinite(offset) or offset < struct.unpack_from(order + "i", raw)[0]:
        raise RefusedVolume("unreadable", path, f"has a header that places its voxels at byte {offset:g}.", FETCH_AGAIN)
    shape = dim[1 : 1 + min(max(dim[0], 0), 7)]
    # a slope of 0 means that there is none
    scaling = (slope, intercept) if slope and math.isfinite(slope) and math.isfinite(intercept) else (1.0, 0.0)
    stored = order + _TYPES[kind] if kind in _TYPES else ""
    length = int(offset) + int(np.prod(shape, dtype=object)) * bits // 8
    affine = np.array(rows, dtype=np.float64).reshape(3, 4)
    return _Header(length, stored, scaling, int(offset), shape, pixdim[1:4], qform, sform, affine)


def _gzip_is_complete(path: Path, length: int) -> bool:
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        stated = struct.unpack("<I", stream.read(4))[0]
    # the trailer counts the last gzip member only, modulo 4 GiB: where it differs, the file is decoded to be sure
    if stated == length % 2**32:
        return True
    decoded = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(1 << 22):
                decoded += len(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return decoded >= length


def _check_orientation(path: Path, header: _Header) -> None:
    spacing = np.abs(np.asarray(header.spacing))
    if not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise no_spacing(path, header.spacing)
    if header.qform <= 0 and header.sform <= 0:
        raise RefusedVolume(
            "no_orientation",
            path,
            "does not say how it lies in the patient (its qform and "
            "sform codes are 0), so left could be taken for right.",
            _RIGHT_AFFINE,
        )
    if header.sform > 0:
        columns = header.affine[:, :3]
        lengths = np.linalg.norm(columns, axis=0)
        if not np.all(np.isfinite(header.affine)) or not np.all(lengths > 0):
            raise RefusedVolume("no_orientation", path, "has an sform with zero or non-finite columns.", _RIGHT_AFFINE)
        cosines = columns / lengths
        if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-2):
            raise sheared_grid(path)
