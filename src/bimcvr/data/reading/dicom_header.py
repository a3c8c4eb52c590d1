"""Read DICOM headers without pydicom's warnings, which quote unusual values, names and identifiers among them."""

import logging
import warnings
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

# importing this module is enough: the settings hold for the whole process
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")

# float, double and integer pixels
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def read_header(file: Path) -> tuple[Dataset, int]:
    """Read a DICOM file up to its pixels.

    Args:
        file: the file.

    Returns:
        The header, and the number of bytes of pixels that it announces (0 if there are none).
    """
    lengths: list[int] = []

    def at_pixels(tag: int, _: str | None, length: int) -> bool:
        if tag in _PIXELS:
            lengths.append(length)
        return tag in _PIXELS

    with file.open("rb") as stream:
        header = read_partial(stream, stop_when=at_pixels)
    return header, sum(lengths)
