"""Where the findings of a phantom are: the voxels that each fills, and the ellipsoid that stands for them."""

import json
from collections.abc import Mapping

import numpy as np

from bimcvr.phantom.image.anatomy import aorta, chest_radius, diaphragm, heart
from bimcvr.phantom.image.body import Body
from bimcvr.phantom.image.canvas import Array, Canvas, Grid
from bimcvr.phantom.reports.findings import PlantedFinding
from bimcvr.phantom.reports.vocabulary import LABELS


def deformed_organ(canvas: Canvas, body: Body, finding: PlantedFinding) -> Array:
    """Return the voxels (D, H, W) of the organ that a finding deforms: heart, part of the aorta, liver or spine.

    Args:
        canvas: with the grid.
        body: the patient with the finding.
        finding: one that is not painted but changes the body (`body.adapt`).
    """
    grid, mask = canvas.grid, np.zeros(canvas.grid.shape, dtype=bool)
    match finding.finding:
        case "cardiomegaly":
            shapes = [canvas.ellipsoid(centre, radii) for centre, radii in heart(body)]
        case "aortic aneurysm":
            shapes = [
                canvas.tube(start, end, radius) for part, start, end, radius in aorta(body) if part == finding.site
            ]
        case "hepatic steatosis":
            flat, _ = chest_radius(body, grid)
            below = grid.z[:, None, None] - diaphragm(body, grid)[None] <= -4
            return np.asarray(below & (grid.x < 20)[None, None, :] & (flat < 0.9) & (canvas.hu > -400))
        case _:
            bow = body.spine_x(grid.z / body.height)[:, None, None]
            x, y = grid.x[None, None, :] - bow, grid.y[None, :, None] - 0.80 * body.depth
            return np.asarray((x / 19) ** 2 + (y / 16) ** 2 < 1.12)
    for box, share in shapes:
        mask[box] |= share > 0.5
    return mask


def places_json(masks: Mapping[PlantedFinding, Array], grid: Grid) -> str:
    """Return where findings are, as the manifest's column `places` has it: JSON, mm in LPS.

    A finding's `centre` is the middle of its voxels, and its `half_axes` are those of the ellipsoid along x, y and z
    with the same spread: for a ball its radius. A finding that fills no voxel is left out.

    Args:
        masks: the voxels (D, H, W) of each finding.
        grid: where they lie.
    """
    axes = (grid.x, grid.y, grid.z)
    rows = []
    for finding, mask in masks.items():
        if not mask.any():
            continue
        index = np.nonzero(mask)[::-1]
        spots = [axis[places].astype(np.float64) for axis, places in zip(axes, index, strict=True)]
        # a voxel's own width is part of the spread
        half = [float(np.sqrt(5 * (spot.var() + mm**2 / 12))) for spot, mm in zip(spots, grid.spacing, strict=True)]
        rows.append(
            {
                "finding": LABELS.get(finding.finding, finding.finding),
                "site": finding.site,
                "centre": [round(float(spot.mean()), 1) for spot in spots],
                "half_axes": [round(length, 1) for length in half],
            }
        )
    return json.dumps(rows, separators=(",", ":"))


def label_map(masks: Mapping[PlantedFinding, Array], shape: tuple[int, int, int]) -> Array:
    """Return uint8 (D, H, W): 0, or the number from 1 of the finding in `places_json`; later ones cover earlier ones.

    Args:
        masks: the voxels of each finding.
        shape: (D, H, W).
    """
    numbers = np.zeros(shape, dtype=np.uint8)
    for number, mask in enumerate((mask for mask in masks.values() if mask.any()), 1):
        numbers[mask] = number
    return numbers
