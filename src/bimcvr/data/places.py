"""The manifest's column `places`: where the findings of a volume are, as ellipsoids in mm of the patient."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bimcvr.data.manifest import Manifest
from bimcvr.errors import UserError

Point = tuple[float, float, float]


class Place(NamedTuple):
    """An ellipsoid that stands for a finding.

    Attributes:
        finding: its label, as in the column `labels`.
        centre: mm along x, y, z in LPS.
        half_axes: mm along the same axes.
        site: where it is, in words; may be empty.
    """

    finding: str
    centre: Point
    half_axes: Point
    site: str = ""

    @property
    def diameter(self) -> float:
        """The diameter of the ball of the same volume, mm."""
        return 2 * math.prod(self.half_axes) ** (1 / 3)

    def share(self, affine: np.ndarray, shape: Sequence[int], grown: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Return the share of each voxel of a grid that the ellipsoid fills, float32 (D, H, W) from 0 to 1.

        Args:
            affine: (4, 4), from indices along D, H, W to mm in LPS.
            shape: D, H, W.
            grown: mm that are added to the half-axes along x, y, z.
        """
        half = np.asarray(self.half_axes) + np.asarray(grown)
        square = np.zeros(tuple(shape), dtype=np.float32)
        for axis in range(3):
            steps = [affine[axis, k] * np.arange(length) for k, length in enumerate(shape)]
            along = steps[0][:, None, None] + steps[1][None, :, None] + steps[2][None, None, :]
            square += (((along + affine[axis, 3] - self.centre[axis]) / half[axis]) ** 2).astype(np.float32)
        voxel = abs(float(np.linalg.det(affine[:3, :3]))) ** (1 / 3)
        depth = (1 - np.sqrt(square)) * float(half.min())
        return np.asarray(np.clip(depth / voxel + 0.5, 0, 1))


def places_of(manifest: Manifest, row: int) -> list[Place]:
    """Return where the findings of a row are; an empty list where the manifest does not say.

    Args:
        manifest: the dataset.
        row: position in it.

    Raises:
        UserError: the cell is not as the column's contract says.
    """
    cell = manifest.cell("places", row)
    if not cell:
        return []
    try:
        entries = json.loads(cell)
        if not isinstance(entries, list):
            raise TypeError("no list")
        return [_place(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{manifest.path}, row {row + 1} (study_id '{manifest.cell('study_id', row)}'): 'places' is not a JSON list"
            ' of findings like {"finding":"nodule","centre":[-60,20,35],"half_axes":[9,9,9]}, mm along x, y, z (LPS)'
            f" ({type(error).__name__}). Correct the cell, or leave it empty."
        ) from error


def _place(entry: dict[str, Any]) -> Place:
    centre, half = _point(entry["centre"]), _point(entry["half_axes"])
    if min(half) <= 0 or not str(entry["finding"]).strip():
        raise ValueError("a half-axis is not above 0, or the finding has no name")
    return Place(str(entry["finding"]).strip(), centre, half, str(entry.get("site") or ""))


def _point(numbers: Sequence[float]) -> Point:
    x, y, z = map(float, numbers)
    if not all(map(math.isfinite, (x, y, z))):
        raise ValueError("not finite")
    return x, y, z
