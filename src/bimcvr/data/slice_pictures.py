"""Slices of a volume as grey-scale pictures with true proportions."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np

CHEST_WINDOW = (-1000.0, 400.0)
"""HU from black to white; lungs and soft tissue are both visible."""

PLANES = ("axial", "coronal", "sagittal")
"""The planes of `slices_at`, in its order."""

THUMBNAIL_GRID = (128, 192, 192)
"""What a volume is resized to for small pictures: slices, rows, columns."""

THUMBNAIL_SIDE = 192
"""Pixels along their longer side."""

_NARROWEST = 0.25
_WIDEST = 4.0


def middle_slices(volume: np.ndarray, spacing: tuple[float, float, float]) -> list[tuple[np.ndarray, float]]:
    """Return the middle axial, coronal and sagittal slices of a volume, each with its pixel aspect.

    Axial rows run from front to back, the others from top to bottom. The patient's right is on the left of axial and
    coronal slices (radiological convention), the patient's front on the left of the sagittal one.

    Args:
        volume: (D, H, W), any values.
        spacing: mm along D, H, W.
    """
    depth, height, width = (size // 2 for size in volume.shape)
    return slices_at(volume, spacing, (depth, height, width))


def slices_at(
    volume: np.ndarray, spacing: tuple[float, float, float], place: tuple[int, int, int]
) -> list[tuple[np.ndarray, float]]:
    """Return the three slices through a place, as `middle_slices` does through the middle.

    Args:
        volume: (D, H, W), any values.
        spacing: mm along D, H, W.
        place: indices along D, H, W.
    """
    depth, height, width = place
    mm_d, mm_h, mm_w = spacing
    return [(volume[depth], mm_h / mm_w), (volume[::-1, height], mm_d / mm_w), (volume[::-1, :, width], mm_d / mm_h)]


def grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return values as uint8 grey levels: the lower end of the window is black, the upper end white.

    Args:
        values: HU of any shape; or values that are windowed already, with the window (0, 1).
        window: lower and upper end.
    """
    low, high = window
    return ((values.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)


def fit_in(plane: np.ndarray, aspect: float, side: int) -> np.ndarray:
    """Scale a slice to square pixels so that its longer side has `side` pixels.

    Args:
        plane: (rows, columns) uint8.
        aspect: height of a pixel divided by its width.
        side: in pixels.
    """
    height, width = plane.shape[0] * aspect, float(plane.shape[1])
    scale = side / max(height, width)
    return _scaled(plane, max(1, round(height * scale)), max(1, round(width * scale)))


def strip(slices: Sequence[tuple[np.ndarray, float]], height: int, gap: int = 4) -> np.ndarray:
    """Put slices side by side, with black columns between them.

    Args:
        slices: pictures (rows, columns) uint8 with their pixel aspects, as `middle_slices` returns them.
        height: of all, in pixels. A slice has its true proportions, unless one side were more than four times
            the other.
        gap: black columns between two slices.

    Returns:
        uint8 (height, width).
    """
    panels = []
    for plane, aspect in slices:
        ratio = min(max(plane.shape[1] / (plane.shape[0] * aspect), _NARROWEST), _WIDEST)
        panels += [_scaled(plane, height, max(1, round(height * ratio))), np.zeros((height, gap), dtype=np.uint8)]
    return np.hstack(panels[:-1])


def jpeg(picture: np.ndarray) -> bytes:
    """Return a picture (rows, columns) uint8 as the bytes of a grey-scale JPEG."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def png(picture: np.ndarray) -> bytes:
    """Return a picture (rows, columns, 4) uint8, red, green, blue and opacity, as the bytes of a PNG."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _scaled(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR))
