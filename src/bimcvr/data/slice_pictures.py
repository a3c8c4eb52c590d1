"""Slices of a volume as grey pictures with true proportions."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np

CHEST_WINDOW = (-1000.0, 400.0)
"""HU from black to white: lungs and soft tissue are both to be seen."""

_NARROWEST = 0.25
_WIDEST = 4.0


def middle_slices(volume: np.ndarray, spacing: tuple[float, float, float]) -> list[tuple[np.ndarray, float]]:
    """Cut a volume (D, H, W) through its middle: axial, coronal and sagittal, each with its pixel aspect.

    Rows run from the front to the back or from the top down, and in axial and coronal slices the patient's right is
    on the left (radiological convention), in the sagittal one the front is.
    """
    depth, height, width = (size // 2 for size in volume.shape)
    mm_d, mm_h, mm_w = spacing
    return [(volume[depth], mm_h / mm_w), (volume[::-1, height], mm_d / mm_w), (volume[::-1, :, width], mm_d / mm_h)]


def grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return values (HU, or windowed ones with (0, 1)) as uint8: the window's lower end black, its upper end white."""
    low, high = window
    return ((values.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)


def fit_in(plane: np.ndarray, aspect: float, side: int) -> np.ndarray:
    """Scale a slice to square pixels, the longer side of it `side`.

    Args:
        plane: (rows, columns) uint8.
        aspect: a pixel's height by its width.
        side: in pixels.
    """
    height, width = plane.shape[0] * aspect, float(plane.shape[1])
    scale = side / max(height, width)
    return _scaled(plane, max(1, round(height * scale)), max(1, round(width * scale)))


def strip(slices: Sequence[tuple[np.ndarray, float]], height: int, gap: int = 4) -> np.ndarray:
    """Lay slices side by side on black.

    Args:
        slices: pictures (rows, columns) uint8 with their pixel aspects, like those of `middle_slices`.
        height: of all, in pixels. A slice has its true proportions, as far as no side is more than four times the
            other.
        gap: black columns between two.

    Returns:
        (height, any) uint8.
    """
    panels = []
    for plane, aspect in slices:
        ratio = min(max(plane.shape[1] / (plane.shape[0] * aspect), _NARROWEST), _WIDEST)
        panels += [_scaled(plane, height, max(1, round(height * ratio))), np.zeros((height, gap), dtype=np.uint8)]
    return np.hstack(panels[:-1])


def jpeg(picture: np.ndarray) -> bytes:
    """Return a picture (rows, columns) uint8 as a grey JPEG."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _scaled(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR))
