"""Thumbnails of a study's volume, and the geometry of its grid."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

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
    middle_slices,
)


class VolumePreview(NamedTuple):
    """What an index shows of a volume.

    Attributes:
        thumbnails: plane → JPEG of the middle slice, in radiological convention.
        geometry: of the source grid.
    """

    thumbnails: dict[str, bytes]
    geometry: dict[str, Any]


def draw_preview(path: Path, rules: GridRules = DEFAULT_RULES) -> VolumePreview:
    """Read a volume and draw its middle slices, 192 pixels along the longer side.

    Args:
        path: the volume file or DICOM folder.
        rules: which grids are accepted.

    Returns:
        Thumbnails and geometry.

    Raises:
        RefusedVolume: it is not a regular volume in HU.
    """
    volume = read_resized(path, THUMBNAIL_GRID, rules)
    slices = middle_slices(grey(volume.hu, CHEST_WINDOW), volume.spacing)
    thumbnails = {plane: jpeg(fit_in(*slices[i], THUMBNAIL_SIDE)) for i, plane in enumerate(PLANES)}
    return VolumePreview(thumbnails, asdict(volume.geometry))
