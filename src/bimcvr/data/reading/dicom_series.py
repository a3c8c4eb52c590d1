"""Find the slices of the one CT volume in a DICOM folder, in order, from their headers.

SimpleITK builds a volume from any list of files; only the headers tell whether these are the slices of one regular
grid.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from bimcvr.data.reading.dicom_header import read_header
from bimcvr.data.reading.file_checks import SUFFIXES, check_present
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume
from bimcvr.data.reading.slice_positions import SlicePositions, check_positions

_ONE = "Put each series into a folder of its own and name that folder."
_CT_SERIES = "Name the folder of the original CT series."
# each with its number of values
_PLACING = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_NUMBERS = (*_PLACING, "RescaleSlope", "RescaleIntercept", "NumberOfFrames")
# a file that names no transfer syntax has the implicit one
_UNCOMPRESSED = (
    "",
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


@dataclass(frozen=True)
class DicomStack:
    """The slices of one series that form a regular volume.

    Attributes:
        files: in the order of their positions along the slice normal.
        gap: mm between slices along the normal.
        tilt: angle in degrees between the stack and the normal; less than a pixel's drift.
        jitter: largest distance in mm of a slice from the regular grid.
        padding: the declared padding value in HU, None if there is none or it differs among the slices.
        rescale_varies: whether slope or intercept differ among the slices.
        notes: what was skipped, in words.
    """

    files: tuple[Path, ...]
    gap: float
    tilt: float
    jitter: float
    padding: float | None
    rescale_varies: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Slice:
    """`stored` counts the bytes of pixels that the header announces."""

    file: Path
    header: Dataset
    stored: int


def is_dicom(path: Path) -> bool:
    """Return whether a file has DICOM's magic bytes after the preamble."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def find_stack(path: Path) -> DicomStack:
    """Find the one volume in a DICOM folder, and check that its slices form a regular grid in HU.

    Files that are not DICOM are skipped, and so are objects of other modalities, localisers, colour images, single
    slices and stacks at a single position, as long as one proper series remains; the notes name what was skipped.

    Args:
        path: a folder (its sub-folders are not searched), or one DICOM file.

    Raises:
        RefusedVolume: with the reason `no_dicom`, `unreadable`, `git_lfs_pointer`, `empty_file`, `not_ct`,
            `localizer`, `colour`, `monochrome1`, `no_rescale`, `multi_frame`, `several_series`,
            `no_position`, `not_a_volume`, `truncated`, or one of `check_positions`.
    """
    groups = defaultdict(list)
    for item in _headers(path):
        groups[_series_key(item.header)].append(item)
    series = sorted(groups.values(), key=len, reverse=True)
    usable = []
    faults = []
    for members in series:
        fault = _fault(members)
        if fault is None:
            usable.append(members)
        else:
            faults.append(fault)
    if not usable:
        # the largest series is what the folder was meant to be
        reason, wrong, remedy = faults[0]
        raise RefusedVolume(reason, path, wrong, remedy)
    stacks = [members for members in usable if _is_spread(members)] or usable
    if len(stacks) > 1:
        listing = "; ".join(_describe(members) for members in stacks[:5])
        raise RefusedVolume("several_series", path, f"has {len(stacks)} series: {listing}.", _ONE)
    notes = tuple(f"skipped: {_describe(members)}" for members in series if members is not stacks[0])
    return _stack(path, stacks[0], notes)


def _headers(path: Path) -> list[_Slice]:
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    slices = []
    for file in files:
        claims = file.suffix.lower() in (".dcm", ".ima") or not path.is_dir()
        if file.name.upper() == "DICOMDIR" or file.name.startswith(".") or not (claims or is_dicom(file)):
            continue
        check_present(file)
        try:
            header, stored = read_header(file)
        except (
            InvalidDicomError,
            OSError,
            EOFError,
            ValueError,
            KeyError,
            NotImplementedError,
            AttributeError,
        ) as error:
            raise RefusedVolume(
                "unreadable", file, f"is not readable DICOM ({type(error).__name__}).", FETCH_AGAIN
            ) from error
        slices.append(_Slice(file, header, stored))
    if not slices:
        raise RefusedVolume(
            "no_dicom",
            path,
            "has no DICOM file.",
            f"Name the folder with the slices, or a file that ends in {', '.join(SUFFIXES)}.",
        )
    return slices


def _series_key(header: Dataset) -> tuple[object, ...]:
    return (
        str(header.get("SeriesInstanceUID", "")),
        str(header.get("Modality", "")),
        "LOCALIZER" in _image_type(header),
        header.get("SamplesPerPixel", 1),
        header.get("Rows"),
        header.get("Columns"),
    )


def _fault(members: list[_Slice]) -> tuple[str, str, str] | None:
    """Return reason, problem and remedy of the first fault of a series; None if its slices are a CT in HU."""
    headers = [member.header for member in members]
    first = headers[0]
    if first.get("Modality") != "CT":
        return "not_ct", f"is of modality {first.get('Modality') or 'unknown'}, not CT.", _CT_SERIES
    if "LOCALIZER" in _image_type(first):
        return "localizer", "has only a localiser (scout).", _CT_SERIES
    if first.get("SamplesPerPixel", 1) != 1 or first.get("PhotometricInterpretation", "") == "PALETTE COLOR":
        return "colour", "has colour images, which are not in HU.", _CT_SERIES
    if any(header.get("PhotometricInterpretation") == "MONOCHROME1" for header in headers):
        return "monochrome1", "has inverted (MONOCHROME1) images, which CT does not use.", _CT_SERIES
    for member in members:
        malformed = next((tag for tag in _NUMBERS if _numbers(member.header, tag) is None), None)
        if malformed:
            return "unreadable", f"has a {malformed} that is not a number in {member.file.name}.", FETCH_AGAIN
    unscaled = next((member.file.name for member in members if not _has_rescale(member.header)), None)
    if unscaled:
        return "no_rescale", f"is not in HU: {unscaled} has no rescale slope and intercept to HU.", FETCH_AGAIN
    if any(int(header.get("NumberOfFrames") or 1) > 1 for header in headers):
        return "multi_frame", "is a multi-frame object.", "Convert it to NIfTI, or to one file for each slice."
    if len(members) < 2:
        return "not_a_volume", "is a single slice.", "Name the folder that holds all slices of the series."
    for member in members:
        if not all(len(_numbers(member.header, tag) or []) == count for tag, count in _PLACING.items()):
            return "no_position", f"does not say where {member.file.name} lies in the patient.", FETCH_AGAIN
        if _is_cut_short(member):
            return "truncated", f"has fewer voxels in {member.file.name} than its header promises.", FETCH_AGAIN
    return None


def _stack(path: Path, members: list[_Slice], notes: tuple[str, ...]) -> DicomStack:
    headers = [member.header for member in members]
    grid = _positions(path, members)
    rescales = {(float(header.RescaleSlope), float(header.RescaleIntercept)) for header in headers}
    paddings = {_padding(header) for header in headers}
    return DicomStack(
        files=tuple(members[index].file for index in grid.order),
        gap=grid.gap,
        tilt=grid.tilt,
        jitter=grid.jitter,
        padding=paddings.pop() if len(paddings) == 1 else None,
        rescale_varies=len(rescales) > 1,
        notes=notes,
    )


def _positions(path: Path, members: list[_Slice]) -> SlicePositions:
    positions, orientations, spacings = (
        np.array([_numbers(member.header, tag) for member in members]) for tag in _PLACING
    )
    return check_positions(path, positions, orientations, spacings)


def _numbers(header: Dataset, tag: str) -> list[float] | None:
    """Return the numbers of an element; an empty list if it is absent or empty, None if they are not numbers."""
    try:
        value = header.get(tag)
        if value is None or value == "":
            return []
        return [float(item) for item in (value if isinstance(value, MultiValue) else [value])]
    except (ValueError, TypeError, OverflowError):
        return None


def _is_cut_short(member: _Slice) -> bool:
    """Return whether a slice has fewer bytes than its voxels need: ITK would fill the rest with random memory."""
    header = member.header
    if str(header.file_meta.get("TransferSyntaxUID") or "") not in _UNCOMPRESSED:
        return False
    bits = int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * int(header.get("BitsAllocated") or 0)
    return member.stored < -(-bits // 8)


def _is_spread(members: list[_Slice]) -> bool:
    return len({tuple(member.header.ImagePositionPatient) for member in members}) > 1


def _has_rescale(header: Dataset) -> bool:
    """Return whether a rescale to HU is stated; enhanced objects have it in their functional groups."""
    names = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    groups = [group for name in names for group in header.get(name) or []]
    nested = [item for group in groups for item in group.get("PixelValueTransformationSequence") or []]
    # the type `US` is DICOM's "unspecified"
    return any(
        group.get("RescaleSlope") is not None
        and group.get("RescaleIntercept") is not None
        and group.get("RescaleType", "HU") in ("HU", "", None)
        for group in (header, *nested)
    )


def _padding(header: Dataset) -> float | None:
    value = header.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    return float(value) * float(header.RescaleSlope) + float(header.RescaleIntercept)


def _image_type(header: Dataset) -> list[str]:
    return [str(kind).strip().upper() for kind in header.get("ImageType") or []]


def _describe(members: list[_Slice]) -> str:
    header = members[0].header
    kind = "localiser" if "LOCALIZER" in _image_type(header) else header.get("Modality") or "unknown"
    return (
        f"{len(members)} {kind} images of {header.get('Columns')} × {header.get('Rows')} in series "
        f"'{header.get('SeriesInstanceUID', '')}' ({members[0].file.name} …)"
    )
