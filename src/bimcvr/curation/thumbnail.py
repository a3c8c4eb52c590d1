"""A small picture of a volume, for the pages on which people look at findings."""

from io import BytesIO
from pathlib import Path

import numpy as np

from bimcvr.data.preview import middle_slices
from bimcvr.data.resample import read_resized

# HU: lung and soft tissue both show
_WINDOW = (-1000, 400)
_GRID = (96, 128, 128)


def thumbnail_jpeg(path: Path, height: int = 128) -> bytes:
    """Draw the middle axial, coronal and sagittal slice of a volume side by side, in radiological convention.

    Args:
        path: a volume file or a DICOM folder.
        height: of the picture in pixels. A volume is drawn as its header says, but no side more than four times the other.

    Returns:
        A grey JPEG.

    Raises:
        RefusedVolume: it is no regular volume in HU.
    """
    from PIL import Image

    volume = read_resized(path, _GRID)
    low, high = _WINDOW
    grey = np.clip((volume.hu.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    panels = [_scaled(picture, aspect, height) for picture, aspect in middle_slices(grey, volume.spacing)]
    gap = np.zeros((height, 4), dtype=np.uint8)
    sheet = np.hstack([piece for panel in panels for piece in (panel, gap)][:-1])
    stream = BytesIO()
    Image.fromarray(sheet).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _scaled(picture: np.ndarray, aspect: float, height: int) -> np.ndarray:
    """Scale by nearest pixels to a height; `aspect` is a pixel's height by its width."""
    rows, columns = picture.shape
    ratio = min(max(columns / (rows * aspect), 0.25), 4.0)
    down = np.arange(height) * rows // height
    across = np.arange(max(1, round(height * ratio)))
    return np.asarray(picture[down][:, across * columns // len(across)])
