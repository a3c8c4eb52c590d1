"""Strict checks of a NIfTI header: the file must be complete, and its orientation in the patient must be stated."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.quaternions import quat2mat

from bimcvr.data.hu.geometry import axes_of
from bimcvr.data.reading.file_checks import no_image, other_kind
from bimcvr.data.reading.grid import Grid, GridRules, NiftiForm, no_orientation
from bimcvr.data.reading.header_fields import malformed
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume, sheared_grid
from bimcvr.data.reading.voxels import StreamedVoxels, refuse_impossible

_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""From NIfTI's RAS to LPS."""
_RIGHT_AFFINE = "Convert it again from DICOM, or write an affine that is known to be right."
# the low three bits of xyzt_units: unknown, which all take for mm, or mm
_MILLIMETRES = (0, 2)
# (type, offset) of: data type and bits a voxel, dim, pixdim, vox_offset, scl_slope and scl_inter, qform_code and
# sform_code, three parts of the qform's quaternion and its
# offset, the rows of the sform, the units
_NIFTI_1 = (
    ("2h", 70), ("8h", 40), ("8f", 76), ("f", 108), ("2f", 112), ("2h", 252), ("6f", 256), ("12f", 280), ("B", 123)
)  # fmt: skip
_NIFTI_2 = (
    ("2h", 12), ("8q", 16), ("8d", 104), ("q", 168), ("2d", 176), ("2i", 344), ("6d", 352), ("12d", 400), ("i", 500)
)  # fmt: skip
_MAGIC_1, _MAGIC_2 = b"n+1\0", b"n+2\0\r\n\x1a\n"
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"
}  # fmt: skip
_COLOURS = {128: 3, 2304: 4, 32: 2, 1792: 2, 2048: 2}
"""Values a voxel of the colour and complex types."""
_LARGEST_OFFSET, _MOST_FORM_CODE = 1 << 24, 5
_MOST_DOUBT = 0.01
"""Share by which two statements of the voxel size may differ."""


class _Header(NamedTuple):
    """The fields of a header that are used; `quaternion` holds qfac and b, c, d."""

    stored: str
    values: int
    scaling: tuple[float, float]
    offset: int
    shape: tuple[int, ...]
    spacing: np.ndarray
    qform: int
    sform: int
    quaternion: tuple[float, float, float, float]
    offsets: tuple[float, float, float]
    affine: np.ndarray


def read_nifti(path: Path, rules: GridRules) -> tuple[Grid, StreamedVoxels]:
    """Check the header of a NIfTI file and open its voxels.

    The sform decides how the voxels lie in the patient, the qform where there is no sform, as in nibabel. A file whose
    sform contradicts its voxel sizes by more than 1 %, or its qform about the sides, is refused: programs differ in
    which of them they use (https://nifti.nimh.nih.gov/nifti-1, "3D image orientation"). The rules can name the form
    that is right; it is taken where the file has it, the other one where it does not.

    Args:
        path: a `.nii` or `.nii.gz` file; what is in it decides whether it is compressed.
        rules: which grids are accepted.

    Returns:
        The grid, and the voxels in HU, which are decoded when they are asked for.

    Raises:
        RefusedVolume: with the reason `unreadable`, `truncated`, `colour`, `not_a_volume`, `too_large`, `no_spacing`,
            `no_orientation`, `contradictory_header` or `sheared_grid`.
    """
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    header = _read_header(path, compressed)
    by_sform = header.sform > 0 and (header.qform <= 0 or rules.nifti_form != "qform")
    lengths = np.linalg.norm(header.affine[:, :3], axis=0)
    grid = Grid.checked(
        path,
        header.shape,
        header.values,
        rules.max_voxels,
        lambda: (lengths if by_sform and rules.nifti_form != "auto" else header.spacing).tolist(),
        lambda: _direction(path, header, by_sform, rules.nifti_form),
        lambda: (_TO_LPS @ (header.affine[:, 3] if by_sform else np.array(header.offsets))).tolist(),
    )
    if by_sform:
        grid = grid._replace(spacing=(float(lengths[2]), float(lengths[1]), float(lengths[0])))
    dtype = np.dtype(header.stored)
    refuse_impossible(path, path.stat().st_size, header.offset + grid.voxels * dtype.itemsize, compressed)
    return grid, StreamedVoxels(path, compressed, header.offset, grid.shape, dtype, *header.scaling)


def _read_header(path: Path, compressed: bool) -> _Header:
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            raw = stream.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedVolume("truncated", path, f"cannot be decompressed ({error}).", FETCH_AGAIN) from error
    if compressed and (kind := other_kind(raw)):
        raise no_image(path, f"{kind} within a gzip file")
    for order in "<>":
        if len(raw) >= 348 and struct.unpack_from(order + "i", raw)[0] == 348:
            return _parse(path, order, raw, _NIFTI_1, raw[344:348] == _MAGIC_1)
        if len(raw) >= 540 and struct.unpack_from(order + "i", raw)[0] == 540:
            return _parse(path, order, raw, _NIFTI_2, raw[4:12] == _MAGIC_2)
    if len(raw) < 348:
        raise RefusedVolume("truncated", path, "ends within its header.", FETCH_AGAIN)
    raise RefusedVolume("unreadable", path, "does not begin with a NIfTI header.", FETCH_AGAIN)


def _parse(path: Path, order: str, raw: bytes, layout: tuple[tuple[str, int], ...], is_single_file: bool) -> _Header:
    fields: list[Any] = [struct.unpack_from(order + kind, raw, offset) for kind, offset in layout]
    (kind, bits), dim, pixdim, (offset,), (slope, intercept), (qform, sform), quaternion, rows, (units,) = fields
    if not is_single_file:
        raise malformed(path, "has no magic number of a NIfTI file that holds header and voxels")
    # the voxels follow the header; with a smaller offset, bytes of the header would be read as HU
    if not math.isfinite(offset) or offset < struct.unpack_from(order + "i", raw)[0] or offset != int(offset):
        raise malformed(path, f"has a header that places its voxels at byte {offset:g}")
    if offset > _LARGEST_OFFSET or not (0 <= qform <= _MOST_FORM_CODE and 0 <= sform <= _MOST_FORM_CODE):
        raise malformed(path, f"has a value in its header that NIfTI does not define (codes {qform} and {sform})")
    if not 1 <= dim[0] <= 7 or min(dim[1 : 1 + dim[0]]) < 1:
        raise malformed(path, "has a header without a valid number of axes and voxels")
    if units & 7 not in _MILLIMETRES:
        # ITK converts, nibabel does not, and the programs that write such files mean either
        raise RefusedVolume(
            "no_spacing",
            path,
            f"does not measure its voxels in mm, but in the unit {units & 7} (1 is m, 3 is µm).",
            "Convert it to mm, or correct the unit if its voxel sizes are mm.",
        )
    # the fifth axis holds the values of a voxel
    values = int(dim[5]) if dim[0] == 5 and dim[5] > 1 else _COLOURS.get(kind, 1)
    stored = order + _TYPES[kind] if kind in _TYPES else ""
    if values == 1 and (not stored or np.dtype(stored).itemsize * 8 != bits):
        raise malformed(path, f"has the data type {kind} with {bits} bits a voxel in its header, which do not fit")
    # a slope of 0 or one that is not finite means that there is none (nibabel, get_slope_inter)
    scaled = bool(slope) and math.isfinite(slope)
    if scaled and not math.isfinite(intercept):
        raise malformed(path, "has a slope to HU in its header, but no valid intercept")
    return _Header(
        stored=stored,
        values=values,
        scaling=(slope, intercept) if scaled else (1.0, 0.0),
        offset=int(offset),
        shape=dim[1 : 1 + min(dim[0], 4)] if values > 1 else dim[1 : 1 + dim[0]],
        spacing=np.abs(np.asarray(pixdim[1:4], dtype=np.float64)),
        qform=qform,
        sform=sform,
        quaternion=(pixdim[0], *quaternion[:3]),
        offsets=quaternion[3:],
        affine=np.array(rows, dtype=np.float64).reshape(3, 4),
    )


def _direction(path: Path, header: _Header, by_sform: bool, form: NiftiForm) -> np.ndarray:
    """Return the direction cosines (3, 3) in LPS, column k where image axis k points."""
    if header.qform <= 0 and header.sform <= 0:
        raise no_orientation(path, "has a qform and an sform code of 0")
    if not by_sform:
        return np.asarray(_TO_LPS @ _rotation(path, *header.quaternion))
    columns = header.affine[:, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.all(np.isfinite(header.affine)) or not np.all(lengths > 0):
        raise RefusedVolume("no_orientation", path, "has an sform with zero or non-finite columns.", _RIGHT_AFFINE)
    cosines = columns / lengths
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-2):
        raise sheared_grid(path)
    if form != "auto":
        return np.asarray(_TO_LPS @ cosines)
    if np.abs(lengths / header.spacing - 1).max() > _MOST_DOUBT:
        sform, pixdim = (" × ".join(f"{mm:.4g}" for mm in sizes) for sizes in (lengths, header.spacing))
        raise _contradiction(path, f"its sform says {sform} mm a voxel, its pixdim {pixdim}")
    if header.qform > 0:
        sides = [axes_of(_TO_LPS @ matrix).letters for matrix in (cosines, _rotation(path, *header.quaternion))]
        if sides[0] != sides[1]:
            raise _contradiction(path, f"its axes point to {sides[0]} by the sform and to {sides[1]} by the qform")
    return np.asarray(_TO_LPS @ cosines)


def _contradiction(path: Path, what: str) -> RefusedVolume:
    remedy = f"{_RIGHT_AFFINE} If one of them is known to be right in all files, set nifti_form to sform or qform."
    return RefusedVolume("contradictory_header", path, f"contradicts itself: {what}.", remedy)


def _rotation(path: Path, qfac: float, b: float, c: float, d: float) -> np.ndarray:
    """Return the axes (3, 3) of a qform in RAS: a unit quaternion of which NIfTI stores three parts, and the hand."""
    square = b * b + c * c + d * d
    if not math.isfinite(square) or square > 1 + 3e-7:
        raise RefusedVolume("no_orientation", path, "has a qform that is no rotation.", _RIGHT_AFFINE)
    axes = quat2mat((math.sqrt(max(0.0, 1 - square)), b, c, d))
    axes[:, 2] *= -1 if qfac < 0 else 1
    return np.asarray(axes)
