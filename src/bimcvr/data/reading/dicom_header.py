"""The header of a DICOM file and where its pixels lie, read by a pydicom that says nothing.

Its warnings quote values that it finds odd, names and identifiers among them.
"""

import io
import logging
import struct
import warnings
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
from pydicom.multival import MultiValue

from bimcvr.data.reading.header_fields import strict_float
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

# importing this file is enough: the settings hold for the process, whichever part of it reads a header
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")

UNDEFINED_LENGTH = 0xFFFFFFFF
# integer, float and double pixels
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MOST_INFLATED = (1 << 25) + (1 << 20)
"""Bytes of a deflated data set: 4,096 × 4,096 pixels of 16 bits, and a header."""
# elements that may follow the pixels: data set trailing padding, digital signatures
_TRAILERS = (b"\xfc\xff\xfc\xff", b"\xfa\xff\xfa\xff", b"\xff\xfc\xff\xfc", b"\xff\xfa\xff\xfa")


class PixelElement(NamedTuple):
    """Where a file's pixels lie.

    Attributes:
        floating: whether the numbers are float or double.
        offset: of the first byte, in the file, or in the data set of a deflated one.
        length: bytes that the header announces; `UNDEFINED_LENGTH` for encapsulated pixels; 0 where there are none.
        available: bytes from `offset` to the end.
        deflated: whether the file's data set is deflated.
        rest: the first bytes behind the pixels.
    """

    floating: bool
    offset: int
    length: int
    available: int
    deflated: bool
    rest: bytes

    def read(self, file: Path) -> bytes:
        """Return the bytes of pixels whose length is defined."""
        if self.deflated:
            return _inflate(file)[1][self.offset : self.offset + self.length]
        with file.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.length)

    @property
    def has_foreign_rest(self) -> bool:
        """Whether something else than DICOM's trailing elements follows: bytes were inserted before it."""
        return bool(self.rest.strip(b"\0")) and not self.rest.startswith(_TRAILERS)


def read_header(file: Path, force: bool = False) -> tuple[Dataset, PixelElement]:
    """Read what precedes the pixels of a DICOM file.

    Args:
        file: the file.
        force: read it although it has no preamble with DICOM's mark.

    Returns:
        The header, and where the pixels lie.

    Raises:
        RefusedVolume: `truncated` or `too_large`, a deflated file does not inflate.
        InvalidDicomError: it is no DICOM file; pydicom raises other errors for malformed elements.
    """
    stops: list[int] = []

    def at_pixels(tag: int, _: str | None, length: int) -> bool:
        if tag in _PIXELS:
            stops.append(tag)
        return tag in _PIXELS

    with file.open("rb") as stream:
        head = stream.read(2048)
        stream.seek(0)
        if _DEFLATED in head:
            meta, inflated = _inflate(file)
            buffer = io.BytesIO(inflated)
            data = read_dataset(buffer, False, True, stop_when=at_pixels)
            header = FileDataset(file, data, file_meta=meta, is_implicit_VR=False, is_little_endian=True)
            return header, _element(buffer, len(inflated), stops, False, True, True)
        header = read_partial(stream, stop_when=at_pixels, force=force)
        implicit, little = header.original_encoding
        return header, _element(stream, file.stat().st_size, stops, bool(implicit), little is not False, False)


def _inflate(file: Path) -> tuple[FileMetaDataset, bytes]:
    """Return the meta information of a deflated file and its data set."""
    meta = read_file_meta_info(file)
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    with file.open("rb") as stream:
        # preamble and mark, then the element that says how long the rest of the group is
        stream.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        inflated = decoder.decompress(stream.read(_MOST_INFLATED), _MOST_INFLATED + 1)
    if len(inflated) > _MOST_INFLATED:
        raise RefusedVolume(
            "too_large",
            file,
            f"inflates to more than {_MOST_INFLATED >> 20} MiB.",
            "Convert it to an uncompressed transfer syntax if it is sound.",
        )
    if not decoder.eof:
        raise RefusedVolume("truncated", file, "ends before its deflated data set does.", FETCH_AGAIN)
    return meta, inflated


def _behind_items(stream: IO[bytes], start: int, size: int) -> bytes:
    """Return the first bytes behind encapsulated pixels (PS3.5 A.4), or foreign ones where the items do not end."""
    stream.seek(start)
    while len(head := stream.read(8)) == 8:
        length = struct.unpack("<4xI", head)[0]
        if head[:4] == _DELIMITER:
            return stream.read(1024)
        if head[:4] != _ITEM or length == UNDEFINED_LENGTH or stream.tell() + length > size:
            break
        stream.seek(length, 1)
    return b"no delimiter"


def _element(
    stream: IO[bytes], size: int, stops: list[int], implicit: bool, little: bool, deflated: bool
) -> PixelElement:
    """Read the head of the pixel element that the stream stands before."""
    start = stream.tell()
    if not stops or start + 12 > size:
        return PixelElement(False, start, 0, 0, deflated, b"")
    head = stream.read(12)
    if implicit:
        offset, length = start + 8, struct.unpack("<4xI4x", head)[0]
    elif head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"UN"):
        offset, length = start + 12, struct.unpack("<8xI" if little else ">8xI", head)[0]
    else:
        offset, length = start + 8, struct.unpack("<6xH4x" if little else ">6xH4x", head)[0]
    if length == UNDEFINED_LENGTH:
        rest = _behind_items(stream, offset, size)
    else:
        stream.seek(min(offset + length, size))
        rest = stream.read(1024)
    return PixelElement(stops[-1] != 0x7FE00010, offset, length, size - offset, deflated, rest)


def numbers(header: Dataset, tag: str) -> list[float] | None:
    """Return the numbers of an element; an empty list if it is absent or empty, None if they are not numbers.

    Args:
        header: of a slice.
        tag: the element's keyword.
    """
    try:
        value = header.get(tag)
        if value is None or value == "":
            return []
        return [_number(item) for item in (value if isinstance(value, MultiValue) else [value])]
    except (ValueError, TypeError, OverflowError):
        return None


def _number(item: object) -> float:
    # pydicom keeps the text, and takes `0_8` for 8 as Python does
    return strict_float(str(getattr(item, "original_string", item)))


def code(header: Dataset, tag: str) -> str:
    """Return a coded value in capitals: some files have them in small letters.

    Args:
        header: of a slice.
        tag: the element's keyword.
    """
    return str(header.get(tag) or "").strip().upper()


def image_type(header: Dataset) -> list[str]:
    """Return the values of ImageType, in capitals."""
    return [str(kind).strip().upper() for kind in header.get("ImageType") or []]
