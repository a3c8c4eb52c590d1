"""A small picture of a volume for the audit page."""

from pathlib import Path

from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.slice_pictures import CHEST_WINDOW, grey, jpeg, middle_slices, strip

_GRID = (96, 128, 128)


def thumbnail_jpeg(path: Path, height: int = 128, rules: GridRules = DEFAULT_RULES) -> bytes:
    """Draw the middle axial, coronal and sagittal slice of a volume side by side, in radiological convention.

    Args:
        path: a volume file or a DICOM folder.
        height: of the picture in pixels. A volume is drawn with the proportions of its header, up to four to one.
        rules: which grids are accepted.

    Returns:
        A grey JPEG.

    Raises:
        RefusedVolume: it is not a regular volume in HU.
    """
    volume = read_resized(path, _GRID, rules)
    return jpeg(strip(middle_slices(grey(volume.hu, CHEST_WINDOW), volume.spacing), height))
