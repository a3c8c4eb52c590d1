"""Contradictions in a NIfTI header about the orientation of its voxels, which it states up to three times."""

import gzip
import struct
from pathlib import Path

import numpy as np

# differences by rounding and by re-saving oblique scans are smaller
_ANGLE, _SPACING = 5.0, 0.05


def orientation_conflict(path: Path) -> str:
    """Compare the sform, the qform and the voxel sizes of a NIfTI-1 file.

    Programs differ in which of them they use, so with a contradiction left and right, top and bottom or the size of a
    voxel depend on the program (https://nifti.nimh.nih.gov/nifti-1, "3D image orientation").

    Args:
        path: the volume file.

    Returns:
        The contradiction in a few words; empty if there is none, or the file has another format.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return ""
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    with gzip.open(path) if compressed else path.open("rb") as stream:
        raw = stream.read(348)
    order = next((sign for sign in "<>" if len(raw) == 348 and struct.unpack_from(sign + "i", raw)[0] == 348), "")
    return _conflict(raw, order) if order else ""


def _conflict(raw: bytes, order: str) -> str:
    pixdim = np.array(struct.unpack_from(order + "4f", raw, 76), dtype=np.float64)
    qform_code, sform_code = struct.unpack_from(order + "2h", raw, 252)
    if sform_code <= 0:
        return ""
    sform = np.array(struct.unpack_from(order + "12f", raw, 280), dtype=np.float64).reshape(3, 4)[:, :3]
    lengths = np.linalg.norm(sform, axis=0)
    sizes = np.abs(pixdim[1:])
    if np.abs(lengths / sizes - 1).max() > _SPACING:
        return f"sform says {_mm(lengths)} mm per voxel, pixdim {_mm(sizes)}"
    if qform_code <= 0:
        return ""
    qform = _rotation(*struct.unpack_from(order + "3f", raw, 256))
    qform[:, 2] *= -1 if pixdim[0] < 0 else 1
    cosines = sform / lengths
    if np.linalg.det(cosines) * np.linalg.det(qform) < 0:
        return "sform and qform differ in handedness: left and right are exchanged"
    angle = float(np.degrees(np.arccos(np.clip((np.trace(cosines.T @ qform) - 1) / 2, -1, 1))))
    return f"sform and qform differ by a rotation of {angle:.0f}°" if angle > _ANGLE else ""


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """Return the rotation matrix of a unit quaternion, of which NIfTI stores three components."""
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _mm(sizes: np.ndarray) -> str:
    return " × ".join(f"{size:.3g}" for size in sizes)
