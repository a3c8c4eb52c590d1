"""Checks of a single image file before it is decoded: is it there, is it whole, does it say where it lies?"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from bimcvr.data.refused import RefusedVolume

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_AGAIN = "Fetch it again from its source, or set the row aside."
_LFS = b"version https://git-lfs"
_GZIP = b"\x1f\x8b"


class _Nifti(NamedTuple):
    shape: tuple[int, ...]
    bits: int
    spacing: tuple[float, ...]
    offset: int
    qform: int
    sform: int
    affine: np.ndarray


def check_file(path: Path) -> None:
    """Refuse a file that is absent, empty, a stand-in, cut short, of no known format, or without orientation.

    Raises:
        RefusedVolume: with the reason `missing_file`, `empty_file`, `git_lfs_pointer`, `unknown_format`, `unreadable`,
            `truncated`, `no_spacing`, `no_orientation` or `sheared_grid`.
    """
    head = file_head(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise RefusedVolume("unknown_format", path, "is of no known format.",
                            f"Give a file that ends in {', '.join(SUFFIXES)}, or a folder with DICOM slices.")
    if name.endswith((".nii", ".nii.gz")):
        nifti = _read_nifti(path, head)
        _check_length(path, head, nifti)
        _check_placing(path, nifti)
    elif name.endswith((".mha", ".mhd")):
        _check_metaimage(path)


def file_head(path: Path) -> bytes:
    """Return the first 64 bytes of a file.

    Raises:
        RefusedVolume: it does not exist, is empty, or is a Git LFS pointer.
    """
    if not path.is_file():
        raise RefusedVolume("missing_file", path, "does not exist.", "Correct the path or the folder it is relative to.")
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        raise RefusedVolume("empty_file", path, "is empty.", _AGAIN)
    if head.startswith(_LFS):
        raise RefusedVolume("git_lfs_pointer", path, "is a Git LFS pointer, not the file itself.",
                            "Run `git lfs pull` in its repository, or download the file.")
    return head


def refuse_unusable(path: Path, reader: Any) -> None:
    """Refuse what is no grid of scalars with three axes.

    Args:
        path: the file.
        reader: a SimpleITK ImageFileReader that has read the file's information.

    Raises:
        RefusedVolume: with the reason `colour`, `not_a_volume`, `no_spacing` or `sheared_grid`.
    """
    if reader.GetNumberOfComponents() > 1:
        raise RefusedVolume("colour", path, f"has {reader.GetNumberOfComponents()} values a voxel: it is a colour or vector image.",
                            "Give the CT itself, one HU value a voxel.")
    size = reader.GetSize()
    if len(size) not in (3, 4) or min(size) < 2 <= len(size[3:]) or any(extra > 1 for extra in size[3:]) or min(size[:3]) < 2:
        raise RefusedVolume("not_a_volume", path, f"is {' × '.join(map(str, size))} voxels: not three axes of at least two.",
                            "Give one volume a file; single slices and time series are not volumes.")
    spacing = np.asarray(reader.GetSpacing()[:3])
    if not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise _no_spacing(path, tuple(spacing))
    rank = len(size)
    matrix = np.asarray(reader.GetDirection()).reshape(rank, rank)[:3, :3]
    if not np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-2):
        raise _sheared(path)


def _read_nifti(path: Path, head: bytes) -> _Nifti:
    try:
        with _open(path, head) as stream:
            raw = stream.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedVolume("truncated", path, f"cannot be decompressed ({error}).", _AGAIN) from error
    for order in "<>":
        if len(raw) >= 348 and struct.unpack_from(order + "i", raw)[0] == 348:
            return _parse(order, raw, "hh", 70, "8h", 40, "8f", 76, "f", 108, "hh", 252, "12f", 280)
        if len(raw) >= 540 and struct.unpack_from(order + "i", raw)[0] == 540:
            return _parse(order, raw, "hh", 12, "8q", 16, "8d", 104, "q", 168, "ii", 344, "12d", 400)
    if len(raw) < 348:
        raise RefusedVolume("truncated", path, "ends within its header.", _AGAIN)
    raise RefusedVolume("unreadable", path, "does not begin with a NIfTI header.", _AGAIN)


def _parse(order: str, raw: bytes, *layout: Any) -> _Nifti:
    fields = [struct.unpack_from(order + kind, raw, at) for kind, at in zip(layout[::2], layout[1::2], strict=True)]
    (_, bits), dim, pixdim, (offset,), (qform, sform), rows = fields
    rank = min(max(dim[0], 0), 7)
    return _Nifti(tuple(dim[1 : 1 + rank]), bits, tuple(pixdim[1:4]), int(offset), qform, sform,
                  np.array(rows, dtype=np.float64).reshape(3, 4))


def _check_length(path: Path, head: bytes, nifti: _Nifti) -> None:
    expected = nifti.offset + int(np.prod(nifti.shape, dtype=np.int64)) * nifti.bits // 8
    if head.startswith(_GZIP):
        with path.open("rb") as stream:
            stream.seek(-4, 2)
            stated = struct.unpack("<I", stream.read(4))[0]
        # the trailer holds the length of the last gzip member only, modulo 4 GiB: a mismatch is settled by decoding
        whole = stated == expected % 2**32 or _decodes_to(path, expected)
    else:
        whole = path.stat().st_size >= expected
    if not whole:
        raise RefusedVolume("truncated", path, f"ends before the {expected} bytes that its header promises.", _AGAIN)


def _decodes_to(path: Path, expected: int) -> bool:
    length = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(1 << 22):
                length += len(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return length >= expected


def _check_placing(path: Path, nifti: _Nifti) -> None:
    spacing = np.abs(np.asarray(nifti.spacing))
    if not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise _no_spacing(path, nifti.spacing)
    if nifti.qform <= 0 and nifti.sform <= 0:
        raise RefusedVolume("no_orientation", path, "does not say how it lies in the patient (qform and sform codes are 0), so "
                            "left could be taken for right.", "Convert it again from DICOM, or write an affine that is known to be right.")
    if nifti.sform > 0:
        columns = nifti.affine[:, :3]
        lengths = np.linalg.norm(columns, axis=0)
        if not np.all(np.isfinite(nifti.affine)) or np.any(lengths == 0):
            raise RefusedVolume("no_orientation", path, "has an sform with zero or non-finite columns.",
                                "Convert it again from DICOM, or write an affine that is known to be right.")
        cosines = columns / lengths
        if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-2):
            raise _sheared(path)


def _check_metaimage(path: Path) -> None:
    fields = {}
    with path.open("rb") as stream:
        for raw in stream:
            key, _, value = raw[:1024].decode("latin-1").partition("=")
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile" or len(fields) > 200:
                break
        body = path.stat().st_size - stream.tell()
    data = fields.get("ElementDataFile", "")
    if not data:
        raise RefusedVolume("unreadable", path, "has no ElementDataFile: it is no MetaImage header.", _AGAIN)
    if data.upper() == "LOCAL":
        promised = fields.get("CompressedDataSize", "0")
        if promised.isdigit() and body < int(promised):
            raise RefusedVolume("truncated", path, f"ends before the {promised} bytes of voxels that its header promises.", _AGAIN)
    elif not data.upper().startswith("LIST") and "%" not in data:
        _check_data_file(path, path.parent / data.split()[0] if not (path.parent / data).exists() else path.parent / data)


def _check_data_file(path: Path, data: Path) -> None:
    if not data.is_file():
        raise RefusedVolume("missing_file", path, f"names {data.name} as the file of its voxels, which is not beside it.",
                            "Copy the two files together.")
    file_head(data)


def _open(path: Path, head: bytes) -> BinaryIO:
    return gzip.open(path) if head.startswith(_GZIP) else path.open("rb")


def _no_spacing(path: Path, spacing: tuple[float, ...]) -> RefusedVolume:
    return RefusedVolume("no_spacing", path, f"has the voxel spacing {' × '.join(f'{mm:g}' for mm in spacing)} mm.",
                         "Convert it again from DICOM, or write the right spacing into its header.")


def _sheared(path: Path) -> RefusedVolume:
    return RefusedVolume("sheared_grid", path, "has axes that are not at right angles (an uncorrected gantry tilt, or a registration "
                         "kept in the header).", "Resample it to a rectangular grid first.")
