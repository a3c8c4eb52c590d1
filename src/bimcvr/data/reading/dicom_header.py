"""pydicom, set up so that it says nothing.

Its warnings quote values that it finds odd, names and identifiers among them.
"""

import logging
import warnings
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

# importing this file is enough: the settings hold for the process, whichever part of it reads a header
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")

# float, double and integer pixels
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def read_header(file: Path) -> tuple[Dataset, int]:
    """Read what stands before the pixels of a DICOM file.

    Returns:
        The header, and how many bytes of pixels are said to follow (0 if none do).
    """
    lengths: list[int] = []

    def at_pixels(tag: int, _: str | None, length: int) -> bool:
        if tag in _PIXELS:
            lengths.append(length)
        return tag in _PIXELS

    with file.open("rb") as stream:
        header = read_partial(stream, stop_when=at_pixels)
    return header, sum(lengths)
