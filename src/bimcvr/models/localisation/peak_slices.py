"""Small pictures of a volume through the place of the highest relevance, each with its part of the map."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bimcvr.data.hu.placement import Placement
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.slice_pictures import (
    CHEST_WINDOW,
    PLANES,
    THUMBNAIL_GRID,
    THUMBNAIL_SIDE,
    fit_in,
    grey,
    jpeg,
    png,
    slices_at,
)
from bimcvr.models.localisation.relevance import Relevance
from bimcvr.models.localisation.spread import on_source_grid


class PeakSlice(NamedTuple):
    """A slice through the place of the highest relevance.

    Attributes:
        plane: `axial`, `coronal` or `sagittal`.
        picture: JPEG, 192 pixels along the longer side, in radiological convention.
        map: PNG of the same size, to lay over it: what speaks for the query, the more opaque the more.
        number: of the slice in the source, from 1 on: from the feet, the front, the patient's right.
        slices: how many the source has along this axis.
    """

    plane: str
    picture: bytes
    map: bytes
    number: int
    slices: int


def peak_slices(
    path: Path, relevance: Relevance, placement: Placement, rules: GridRules = DEFAULT_RULES
) -> tuple[PeakSlice, ...]:
    """Read a volume and draw its slices through the highest place of a map; none where nothing speaks for the query.

    Args:
        path: the volume file or DICOM folder that the map is of.
        relevance: of its parts, for one query.
        placement: where the model's grid lies on it.
        rules: which grids are accepted.

    Raises:
        RefusedVolume: it is not a regular volume in HU.
    """
    from matplotlib import colormaps

    values = np.clip(on_source_grid(relevance.values[0], relevance.grid, placement, THUMBNAIL_GRID), 0, None)
    if not values.any():
        return ()
    volume = read_resized(path, THUMBNAIL_GRID, rules)
    peak = np.unravel_index(int(values.argmax()), THUMBNAIL_GRID)
    depth, height, width = map(int, peak)
    place = (depth, height, width)
    pictures = slices_at(grey(volume.hu, CHEST_WINDOW), volume.spacing, place)
    levels = slices_at(grey(values, (0, float(values.max()))), volume.spacing, place)
    colours = (255 * colormaps["inferno"](np.arange(256))).astype(np.uint8)
    colours[:, 3] = np.arange(256)
    drawn = []
    for axis, plane in enumerate(PLANES):
        count = placement.shape[axis]
        number = min(int((place[axis] + 0.5) * count / THUMBNAIL_GRID[axis]), count - 1) + 1
        over = png(colours[fit_in(*levels[axis], THUMBNAIL_SIDE)])
        drawn.append(PeakSlice(plane, jpeg(fit_in(*pictures[axis], THUMBNAIL_SIDE)), over, number, count))
    return tuple(drawn)
