"""A study's small pictures, and what is known of its grid."""

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bimcvr.data.resample import read_resized
from bimcvr.data.slice_pictures import fit_in, grey, middle_slices
from bimcvr.search.rows import PLANES

_WINDOW = (-1000, 400)  # HU: lung and soft tissue both show
_GRID = (128, 192, 192)
_SIDE = 192


class Pictures(NamedTuple):
    """Middle slices in radiological convention, plane → JPEG, and the record of the source grid."""

    thumbnails: dict[str, bytes]
    geometry: dict[str, Any]


def draw(path: Path) -> Pictures:
    """Read a volume and draw its middle slices, the longer side of each 192 pixels.

    Raises:
        RefusedVolume: it is no regular volume in HU.
    """
    volume = read_resized(path, _GRID)
    slices = middle_slices(grey(volume.hu, _WINDOW), volume.spacing)
    return Pictures({plane: _jpeg(*slices[i]) for i, plane in enumerate(PLANES)}, asdict(volume.geometry))


def _jpeg(picture: np.ndarray, aspect: float) -> bytes:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(fit_in(picture, aspect, _SIDE)).save(stream, "JPEG", quality=80)
    return stream.getvalue()
