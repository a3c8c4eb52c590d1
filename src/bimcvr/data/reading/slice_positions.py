"""Check that the slices of a DICOM series form a regular grid, from their positions rather than from a tag."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

_RESAMPLE = "Correct it while converting to NIfTI (dcm2niix does), or exclude the row."
# mm; two slices nearer than this are at the same position
_SAME = 0.01


class SlicePositions(NamedTuple):
    """The order and spacing of the slices of a regular stack.

    Attributes:
        order: indices of the slices, in the order of their positions along the slice normal.
        gap: mm between slices along the normal.
        tilt: angle in degrees between the stack and the normal.
        jitter: largest distance in mm of a slice from the regular grid, along the normal.
    """

    order: tuple[int, ...]
    gap: float
    tilt: float
    jitter: float


def check_positions(
    path: Path, positions: np.ndarray, orientations: np.ndarray, spacings: np.ndarray
) -> SlicePositions:
    """Order slices along their normal and refuse an irregular stack.

    Rounded positions are harmless, a wrong grid is not. Every slice is therefore compared with its position on a
    regular grid from the first slice to the last, and may be off by 0.05 mm or 1 % of the gap. Sideways the stack
    may drift by one pixel.

    Args:
        path: the folder, named in the message.
        positions: (N, 3) ImagePositionPatient in mm, N ≥ 2.
        orientations: (N, 6) ImageOrientationPatient.
        spacings: (N, 2) PixelSpacing in mm.

    Raises:
        RefusedVolume: with the reason `no_position`, `no_orientation`, `mixed_geometry`, `duplicate_positions`,
            `gantry_tilt`, `shifted_slices`, `missing_slices` or `variable_gaps`.
    """
    if not np.all(np.isfinite(positions)) or not np.all(np.isfinite(spacings) & (spacings > 0)):
        raise RefusedVolume("no_position", path, "has unusable positions or spacings.", FETCH_AGAIN)
    axes = orientations.reshape(-1, 2, 3)
    # a NaN is not close to anything
    if not np.allclose(axes @ axes.transpose(0, 2, 1), np.eye(2), rtol=0, atol=1e-2):
        raise RefusedVolume(
            "no_orientation", path, "has an orientation that is not two unit vectors at right angles.", FETCH_AGAIN
        )
    _check_same(path, orientations, spacings)
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    normal /= np.linalg.norm(normal)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    along = along[order]
    gaps = np.diff(along)
    if gaps.min() < _SAME:
        same = int(np.count_nonzero(gaps < _SAME))
        raise RefusedVolume(
            "duplicate_positions",
            path,
            f"has {same} of {len(order)} slices at the position of another: a repeated or dynamic scan.",
            "Keep one slice for each position, or exclude the row.",
        )
    tilt = _check_drift(path, positions[order], normal, float(spacings.min()))
    mean = float((along[-1] - along[0]) / len(gaps))
    jitter = float(np.abs(along - (along[0] + mean * np.arange(len(along)))).max())
    if jitter > max(0.05, 0.01 * mean):
        raise _irregular(path, gaps)
    return SlicePositions(tuple(order.tolist()), mean, round(tilt, 3), round(jitter, 4))


def _check_same(path: Path, orientations: np.ndarray, spacings: np.ndarray) -> None:
    for name, values, tolerance in (("orientations", orientations, 1e-3), ("pixel spacings", spacings, 1e-4)):
        if np.abs(values - values[0]).max() > tolerance:
            raise RefusedVolume(
                "mixed_geometry",
                path,
                f"has slices of different {name}.",
                "Put each stack into a folder of its own and name that folder.",
            )


def _check_drift(path: Path, positions: np.ndarray, normal: np.ndarray, pixel: float) -> float:
    """Return the angle in degrees between the stack and its normal; refuse a tilt of more than a pixel's drift."""
    offsets = positions - positions[0]
    along = offsets @ normal
    sideways = offsets - along[:, None] * normal
    slope = sideways[-1] / along[-1]
    tilt = float(np.degrees(np.arctan(np.linalg.norm(slope))))
    if np.linalg.norm(sideways - along[:, None] * slope, axis=1).max() > pixel:
        raise RefusedVolume("shifted_slices", path, "has slices shifted against each other.", FETCH_AGAIN)
    if np.linalg.norm(sideways[-1]) > pixel:
        raise RefusedVolume(
            "gantry_tilt",
            path,
            f"was scanned with a gantry tilt of {tilt:.1f}° that is not "
            "corrected: its slices do not stack up to a box.",
            _RESAMPLE,
        )
    return tilt


def _irregular(path: Path, gaps: np.ndarray) -> RefusedVolume:
    smallest = float(gaps.min())
    multiples = np.round(gaps / smallest)
    if np.all(np.abs(gaps - multiples * smallest) <= 0.05 * smallest) and multiples.max() > 1:
        return RefusedVolume(
            "missing_slices",
            path,
            f"is missing {int((multiples - 1).sum())} slices: they lie "
            f"{smallest:g} mm apart, but {gaps.max():g} mm at the widest.",
            FETCH_AGAIN,
        )
    return RefusedVolume("variable_gaps", path, f"has slices from {smallest:g} to {gaps.max():g} mm apart.", _RESAMPLE)
