"""A study's small pictures, and what is known of its grid."""

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bimcvr.data.preview import middle_slices
from bimcvr.data.resample import read_resized
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
    low, high = _WINDOW
    grey = np.clip((volume.hu.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    slices = middle_slices(grey, volume.spacing)
    return Pictures({plane: _jpeg(*slices[i]) for i, plane in enumerate(PLANES)}, asdict(volume.geometry))


def _jpeg(picture: np.ndarray, aspect: float) -> bytes:
    """Encode a slice; `aspect` is a pixel's height by its width."""
    from PIL import Image

    height, width = picture.shape[0] * aspect, picture.shape[1]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BILINEAR).save(stream, "JPEG", quality=80)
    return stream.getvalue()
