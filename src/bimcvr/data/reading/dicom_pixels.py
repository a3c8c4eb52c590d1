"""The pixels of DICOM slices: checked against the header, uncompressed ones decoded here by PS3.5 section 8.

GDCM takes the pixel type of the first slice for all, pads what is missing with whatever lay in memory, and reads bits
above BitsStored: so it decodes compressed slices alone, and those only where header and code stream agree.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from bimcvr.data.reading.dicom_header import UNDEFINED_LENGTH, PixelElement
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

# where no syntax is named it is the implicit one
_NATIVE = ("", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_PADDED = -3000.0
"""HU of declared padding: below all that is heeded, so that it is counted and becomes air."""
_LEAST_TISSUE, _MOST_TISSUE = -1000.0, 3071.0
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_APPLY = "Convert the series to NIfTI by a program that applies it, or exclude the row."
_CONVERT = "Convert the series again from its source, or set the row aside."

Fault = tuple[str, str, str]
"""Reason, what is wrong as the end of a sentence that begins with the path, and what to do."""


class PixelFormat(NamedTuple):
    """How a slice stores its pixels.

    Attributes:
        rows: H.
        columns: W.
        allocated: bits a pixel takes.
        stored: bits of them that hold the value, the lowest.
        signed: whether the value is in two's complement.
        big_endian: order of bytes.
        native: whether the pixels are uncompressed.
        run_length: whether they are run-length encoded (RLE Lossless).
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool
    big_endian: bool
    native: bool
    run_length: bool

    @property
    def ours(self) -> bool:
        """Whether the slice is decoded without GDCM."""
        return self.native or self.run_length


def pixel_format(header: Dataset) -> PixelFormat:
    """Return how a slice stores its pixels; 0 stands for what the header lacks."""
    syntax = str(header.file_meta.get("TransferSyntaxUID") or "") if hasattr(header, "file_meta") else ""
    rows, columns, allocated, stored = (
        int(header.get(tag) or 0) for tag in ("Rows", "Columns", "BitsAllocated", "BitsStored")
    )
    signed = bool(int(header.get("PixelRepresentation") or 0))
    big_endian = header.original_encoding[1] is False
    return PixelFormat(rows, columns, allocated, stored, signed, big_endian, syntax in _NATIVE, syntax == RLELossless)


def pixel_fault(name: str, header: Dataset, element: PixelElement) -> Fault | None:
    """Return what keeps a slice's pixels from being read, None if nothing does.

    Args:
        name: the file's name, for the message.
        header: of the slice.
        element: where its pixels lie.
    """
    form = pixel_format(header)
    odd = _odd_format(header, form, element)
    if odd:
        return "pixel_format", f"stores its pixels in {name} in a way that is not read here ({odd}).", _CONVERT
    # without a preamble there is no group that names it, and the files are implicit or explicit little endian
    if getattr(header, "preamble", None) and not header.file_meta.get("TransferSyntaxUID"):
        return "unreadable", f"does not say in {name} by which transfer syntax its pixels are stored.", FETCH_AGAIN
    if not element.length:
        return "truncated", f"has no pixels in {name}.", FETCH_AGAIN
    if not form.native:
        broken = element.has_foreign_rest or element.length != UNDEFINED_LENGTH
        return (
            ("damaged", f"has compressed pixels in {name} that do not end properly.", FETCH_AGAIN) if broken else None
        )
    needed = form.rows * form.columns * form.allocated // 8
    if element.length == UNDEFINED_LENGTH:
        return "unreadable", f"says of {name} that its pixels are uncompressed, but encapsulates them.", FETCH_AGAIN
    if element.length < needed or element.available < needed:
        return "truncated", f"has fewer voxels in {name} than its header promises.", FETCH_AGAIN
    # an odd number of bytes is padded to an even one
    if element.length > needed + needed % 2 or element.has_foreign_rest:
        return "trailing_data", f"has more pixels in {name} than its header says, so they may be shifted.", FETCH_AGAIN
    return None


def _odd_format(header: Dataset, form: PixelFormat, element: PixelElement) -> str:
    """Return the first of a slice's pixel attributes that is not read here, or an empty string."""
    high_bit, sign = header.get("HighBit"), header.get("PixelRepresentation")
    if not (form.rows and form.columns):
        return f"Rows × Columns {form.rows} × {form.columns}"
    if form.allocated not in (8, 16, 32):
        return f"BitsAllocated {form.allocated}"
    if not 1 <= form.stored <= form.allocated:
        return f"BitsStored {form.stored} of {form.allocated}"
    if high_bit is not None and high_bit != form.stored - 1:
        return f"HighBit {high_bit} with BitsStored {form.stored}"
    if not header.get("PhotometricInterpretation"):
        return "no PhotometricInterpretation"
    if sign not in (0, 1):
        return f"PixelRepresentation {sign}"
    odd = next((tag for tag in _PADDING if not isinstance(header.get(tag), int | None)), None)
    if odd:
        return f"{odd} that is not one whole number"
    return "float pixels" if element.floating else ""


def rescale_fault(name: str, header: Dataset) -> Fault | None:
    """Return why stored values do not become HU, None if they do; enhanced objects keep the rescale in groups.

    Args:
        name: the file's name, for the message.
        header: of the slice.
    """
    sequences = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    groups = [group for sequence in sequences for group in header.get(sequence) or []]
    nested = [item for group in groups for item in group.get("PixelValueTransformationSequence") or []]
    holders = [
        holder
        for holder in (header, *nested)
        if holder.get("RescaleSlope") is not None and holder.get("RescaleIntercept") is not None
    ]
    if header.get("ModalityLUTSequence"):
        return "no_rescale", f"is not in HU: {name} has a Modality LUT, which is not read here.", _APPLY
    if not holders or not any(float(holder.RescaleSlope) for holder in holders):
        return "no_rescale", f"is not in HU: {name} has no rescale slope and intercept to HU.", FETCH_AGAIN
    kinds = {str(holder.get("RescaleType") or "HU").strip().upper() for holder in holders}
    if kinds != {"HU"}:
        # the type `US` is DICOM's "unspecified"
        what = f"is not in HU: the rescale of {name} has the type {kinds.pop()[:16]!a}, not HU."
        return "no_rescale", what, FETCH_AGAIN
    return None


def code_stream_fault(name: str, file: Path, header: Dataset) -> Fault | None:
    """Compare what a compressed slice's code stream says of itself with the header.

    Args:
        name: the file's name, for the message.
        file: the slice.
        header: of the slice.
    """
    form = pixel_format(header)
    frame = next(generate_frames(pydicom.dcmread(file, force=True).PixelData, number_of_frames=1), b"")
    if form.run_length:
        return None
    described = (
        _jpeg_size(frame) if frame[:2] == b"\xff\xd8" else _jpeg_2000_size(frame) if frame[:2] == b"\xff\x4f" else None
    )
    if described is None:
        return "unreadable", f"has a code stream in {name} that is no JPEG.", FETCH_AGAIN
    rows, columns, values, precision = described
    fits = precision == form.stored or (precision == form.allocated and form.stored >= 12)
    if (rows, columns, values) != (form.rows, form.columns, 1) or not fits:
        return (
            "pixel_format",
            f"says of {name} that it is {form.rows} × {form.columns} of {form.stored} bits, but its code stream is "
            f"{rows} × {columns} of {precision} bits.",
            _CONVERT,
        )
    return None


def _jpeg_size(frame: bytes) -> tuple[int, int, int, int] | None:
    """Return rows, columns, values a pixel and bits from a JPEG or JPEG-LS frame header."""
    place = 2
    while place + 9 < len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], struct.unpack_from(">H", frame, place + 2)[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            precision, rows, columns, values = struct.unpack_from(">BHHB", frame, place + 4)
            return rows, columns, values, precision
        place += 2 + length
    return None


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int, int] | None:
    """Return rows, columns, values a pixel and bits from a JPEG 2000 SIZ segment, None if its tiles are implausible."""
    if frame[2:4] != b"\xff\x51" or len(frame) < 49:
        return None
    width, height, left, top, tile_width, tile_height, _, _, values = struct.unpack_from(">8IH", frame, 8)
    if not (tile_width and tile_height) or -(-width // tile_width) * -(-height // tile_height) > 1 << 16:
        return None
    return height - top, width - left, values, (frame[42] & 0x7F) + 1


class DicomVoxels(NamedTuple):
    """The voxels of uncompressed slices in HU, axes (z, y, x): decoded as they are asked for, never whole in memory.

    Attributes:
        slices: in order: file, header, where its pixels lie.
    """

    slices: Sequence[tuple[Path, Dataset, PixelElement]]

    def slabs(self, thickness: int) -> Iterator[np.ndarray]:
        """Yield the volume in HU, in slabs along its first axis, in order."""
        for start in range(0, len(self.slices), thickness):
            yield np.stack([_decode(*one) for one in self.slices[start : start + thickness]])


def _decode(file: Path, header: Dataset, element: PixelElement) -> np.ndarray:
    """Return a slice (H, W) in HU; declared padding is far below."""
    form = pixel_format(header)
    if form.run_length:
        return _to_hu(header, form, _run_length(file))
    kind = f"{'>' if form.big_endian else '<'}{'i' if form.signed else 'u'}{form.allocated // 8}"
    count = form.rows * form.columns
    stored = np.frombuffer(element.read(file), dtype=kind, count=count).reshape(form.rows, form.columns)
    return _to_hu(header, form, stored.astype(stored.dtype.newbyteorder("="), copy=False))


def _run_length(file: Path) -> np.ndarray:
    try:
        return np.asarray(pydicom.dcmread(file, force=True).pixel_array)
    except (ValueError, RuntimeError, AttributeError, LookupError, struct.error) as error:
        raise RefusedVolume(
            "damaged", file, f"has run-length encoded pixels that do not decode ({type(error).__name__}).", FETCH_AGAIN
        ) from error


def _to_hu(header: Dataset, form: PixelFormat, stored: np.ndarray) -> np.ndarray:
    spare = form.allocated - form.stored
    if spare:
        # arithmetic for signed numbers: the sign is the highest of the stored bits
        stored = (stored << spare) >> spare
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    if slope.is_integer() and intercept.is_integer() and form.stored <= 16 and abs(slope) < 2**12:
        ends = [int(end) * slope + intercept for end in (stored.min(), stored.max())]
        # half the memory to move; what wraps on the way there comes back
        short = max(map(abs, (*ends, intercept))) < 2**15
        hu: np.ndarray = stored.astype(np.dtype(np.int16 if short else np.int32))
        hu *= int(slope)
        hu += int(intercept)
    else:
        hu = (stored * slope + intercept).astype(np.float32)
    padding = _padding_range(header, form, slope, intercept)
    if padding is not None:
        hu[(stored >= padding[0]) & (stored <= padding[1])] = _PADDED
    return hu


def declared_padding(header: Dataset) -> float | None:
    """Return the padding value of a slice in HU, None if it declares none."""
    value = header.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    return float(value) * float(header.RescaleSlope) + float(header.RescaleIntercept)


def _padding_range(header: Dataset, form: PixelFormat, slope: float, intercept: float) -> tuple[int, int] | None:
    """Return the least and largest stored value of declared padding, None where it is none or could be tissue.

    PS3.3 C.7.5.1.1.2. Some files declare 0, which is also water: padding is heeded outside of −1000 … 3071 HU alone.
    """
    values = [header.get(tag) for tag in _PADDING]
    numbers = [_as_stored(int(value), form) for value in values if isinstance(value, int)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    edges = sorted((low * slope + intercept, high * slope + intercept))
    return (low, high) if edges[1] <= _LEAST_TISSUE or edges[0] > _MOST_TISSUE else None


def _as_stored(value: int, form: PixelFormat) -> int:
    """Return a padding value with the sign that pixels have: its own VR (US or SS) is often the other one."""
    value &= (1 << form.stored) - 1
    return value - (1 << form.stored) if form.signed and value >> (form.stored - 1) else value
