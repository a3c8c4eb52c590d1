"""A study's small pictures, and what is known of its grid."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from bimcvr.data.reading.resample import read_resized
from bimcvr.data.slice_pictures import CHEST_WINDOW, fit_in, grey, jpeg, middle_slices
from bimcvr.search.index.schema import PLANES

_GRID = (128, 192, 192)
_SIDE = 192


class VolumePreview(NamedTuple):
    """Middle slices in radiological convention, plane → JPEG, and the record of the source grid."""

    thumbnails: dict[str, bytes]
    geometry: dict[str, Any]


def draw_preview(path: Path) -> VolumePreview:
    """Read a volume and draw its middle slices, the longer side of each 192 pixels.

    Raises:
        RefusedVolume: it is no regular volume in HU.
    """
    volume = read_resized(path, _GRID)
    slices = middle_slices(grey(volume.hu, CHEST_WINDOW), volume.spacing)
    return VolumePreview(
        {plane: jpeg(fit_in(*slices[i], _SIDE)) for i, plane in enumerate(PLANES)}, asdict(volume.geometry)
    )
