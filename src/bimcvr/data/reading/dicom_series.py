"""Find the slices of the one CT volume in a DICOM folder, in order, from their headers.

SimpleITK builds a volume from any list of files; only the headers tell whether these are the slices of one regular
grid.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from bimcvr.data.reading.dicom_header import PixelElement, code, image_type, numbers, read_header
from bimcvr.data.reading.dicom_pixels import (
    DicomVoxels,
    Fault,
    code_stream_fault,
    declared_padding,
    pixel_fault,
    pixel_format,
    rescale_fault,
)
from bimcvr.data.reading.file_checks import SUFFIXES, check_present, other_kind
from bimcvr.data.reading.grid import DEFAULT_RULES, Grid, GridRules
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume
from bimcvr.data.reading.slice_positions import SlicePositions, check_positions

_ONE = "Put each series into a folder of its own and name that folder."
_CT_SERIES = "Name the folder of the original CT series."
# each with its number of values
_PLACING = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_SINGLE = ("RescaleSlope", "RescaleIntercept", "NumberOfFrames")
_NUMBERS = (*_PLACING, *_SINGLE)
_IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_LOOKED_AT = (
    *_NUMBERS, *_IDENTITY, "Modality", "ImageType", "SamplesPerPixel", "Rows", "Columns", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleType", "SOPClassUID", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
# Enhanced CT and Legacy Converted Enhanced CT
_MULTI_FRAME = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
# what lies beside slices and is none of them
_BESIDE = (".txt", ".json", ".xml", ".csv", ".tsv", ".md", ".pdf", ".html", ".png", ".jpg", ".jpeg", ".log", ".yaml")


@dataclass(frozen=True)
class DicomStack:
    """The slices of one series that form a regular volume.

    Attributes:
        files: in the order of their positions along the slice normal.
        grid: of the volume.
        voxels: in HU, where they can be decoded slice by slice; None where GDCM has to.
        tilt: angle in degrees between the stack and the normal; less than a pixel's drift.
        jitter: largest distance in mm of a slice from the regular grid.
        padding: the declared padding value in HU, None if there is none or it differs among the slices.
        rescale_varies: whether slope or intercept differ among the slices.
        notes: what was skipped, in words.
    """

    files: tuple[Path, ...]
    grid: Grid
    voxels: DicomVoxels | None
    tilt: float
    jitter: float
    padding: float | None
    rescale_varies: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Slice:
    file: Path
    header: Dataset
    pixels: PixelElement


def is_dicom(path: Path) -> bool:
    """Return whether a file has DICOM's magic bytes after the preamble."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def find_stack(path: Path, rules: GridRules = DEFAULT_RULES) -> DicomStack:
    """Find the one volume in a DICOM folder, and check that its slices form a regular grid in HU.

    Files that are not DICOM are skipped, unless they are named like the slices, and so are objects of other
    modalities, localisers, colour images, single slices and stacks at a single position, as long as one proper series
    remains and none of them continues it; the notes name what was skipped. Patient, study, series and frame of
    reference are the identity of a series.

    Args:
        path: a folder (its sub-folders are not searched), or one DICOM file.
        rules: which grids are accepted.

    Raises:
        RefusedVolume: with the reason `no_dicom`, `unreadable`, `git_lfs_pointer`, `empty_file`, `not_ct`,
            `localizer`, `colour`, `monochrome1`, `no_rescale`, `multi_frame`, `several_series`, `unread_slices`,
            `no_position`, `not_a_volume`, `truncated`, `trailing_data`, `pixel_format`, or one of `check_positions`.
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
        if len(series) > 2 and len(series[0]) == 1:
            wrong = f"holds {len(series)} slices in {len(series)} series: each has its own series, study or patient id."
            raise RefusedVolume("several_series", path, wrong, _ONE)
        # the largest series is what the folder was meant to be
        reason, wrong, remedy = faults[0]
        raise RefusedVolume(reason, path, wrong, remedy)
    stacks = [members for members in usable if _is_spread(members)] or usable
    if len(stacks) > 1:
        listing = "; ".join(_describe(members) for members in stacks[:5])
        raise RefusedVolume("several_series", path, f"has {len(stacks)} series: {listing}.", _ONE)
    others = [members for members in series if members is not stacks[0]]
    try:
        found = _positions(path, stacks[0])
    except RefusedVolume as error:
        misfit = _misfit(stacks[0], others)
        if misfit is None or error.reason not in ("missing_slices", "variable_gaps"):
            raise
        wrong = f"has a slice of another size or id than the others of its series: {misfit.file.name!a}."
        raise RefusedVolume("unread_slices", path, wrong, FETCH_AGAIN) from error
    _refuse_parts_below(path, stacks[0])
    for members in others:
        _refuse_lost_slices(path, members, stacks[0], found)
    notes = tuple(f"skipped: {_describe(members)}" for members in others)
    return _stack(path, stacks[0], found, notes, rules)


def _misfit(stack: list[_Slice], others: list[list[_Slice]]) -> _Slice | None:
    """Return a single slice of the same series that was left out, and whose place is then a gap."""
    series = stack[0].header.get("SeriesInstanceUID")
    singles = (members[0] for members in others if len(members) == 1)
    return next((one for one in singles if series and one.header.get("SeriesInstanceUID") == series), None)


def _refuse_parts_below(path: Path, stack: list[_Slice]) -> None:
    """Refuse a series of which other slices lie in a sub-folder; the first DICOM file of each is looked at.

    Raises:
        RefusedVolume: `unread_slices`.
    """
    series = stack[0].header.get("SeriesInstanceUID")
    for folder in sorted(path.iterdir()) if path.is_dir() and series else ():
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        first = next((file for file in sorted(folder.iterdir()) if file.is_file() and is_dicom(file)), None)
        if first is not None and _read_slice(first).header.get("SeriesInstanceUID") == series:
            wrong = f"has only a part of its series: other slices are in its sub-folder {folder.name!a}."
            raise RefusedVolume("unread_slices", path, wrong, "Move all slices of the series into one folder.")


def _refuse_lost_slices(path: Path, others: list[_Slice], stack: list[_Slice], found: SlicePositions) -> None:
    """Refuse a stack of which slices at an end are damaged or wrongly labelled, so that no gap betrays them.

    Raises:
        RefusedVolume: `unread_slices`.
    """
    for other in others:
        header = other.header
        names = ("SOPClassUID", "Modality", "SeriesInstanceUID")
        complete = all(header.get(name) for name in names) and (code(header, "Modality") != "CT" or header.get("Rows"))
        if not complete or _continues(other, stack, found):
            why = "continues the stack under another id" if complete else "lacks parts of its header"
            raise RefusedVolume(
                "unread_slices",
                path,
                f"has a slice that is not of its series: {other.file.name!a} {why}.",
                "Fetch it again, or move that file away if it is no slice of the volume.",
            )


def _continues(other: _Slice, stack: list[_Slice], found: SlicePositions) -> bool:
    """Tell whether a file lies one gap beyond an end of a stack, turned like it."""
    position, orientation = (numbers(other.header, tag) or [] for tag in list(_PLACING)[:2])
    if len(position) != 3 or len(orientation) != 6 or not np.all(np.isfinite(position)):
        return False
    first = numbers(stack[0].header, "ImageOrientationPatient")
    if not np.allclose(orientation, np.asarray(first), atol=1e-2):
        return False
    normal = np.cross(orientation[:3], orientation[3:])
    ends = [np.asarray(numbers(stack[found.order[end]].header, "ImagePositionPatient")) for end in (0, -1)]
    offsets = [(np.asarray(position) - end) @ normal * sign for end, sign in zip(ends, (-1, 1), strict=True)]
    return any(abs(offset - found.gap) <= 0.1 * found.gap for offset in offsets)


def _headers(path: Path) -> list[_Slice]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [
        file for file in files if not (file.is_dir() or file.name.startswith(".") or file.name.upper() == "DICOMDIR")
    ]
    slices, unread = [], []
    for file in files:
        claims = file.suffix.lower() in (".dcm", ".ima", ".dicom") or not path.is_dir()
        if not claims and not (file.is_file() and is_dicom(file)):
            unread.append(file)
        else:
            slices.append(_read_slice(file))
    slices += [_read_slice(file) for file in unread if _lacks_only_the_preamble(file)]
    if not slices:
        raise RefusedVolume(
            "no_dicom",
            path,
            f"has no DICOM file{_instead(path, files)}.",
            f"Name the folder with the slices, or a file that ends in {', '.join(SUFFIXES)}.",
        )
    _refuse_unread(path, {item.file for item in slices}, files)
    return slices


def _instead(path: Path, files: list[Path]) -> str:
    """Return what a folder without slices holds instead, as the rest of a sentence."""
    for file in files:
        if file.is_file() and path.is_dir():
            with file.open("rb") as stream:
                kind = other_kind(stream.read(512))
            return f": {file.name!a} is {kind}" if kind else ""
    folders = sorted(item.name for item in path.iterdir() if item.is_dir()) if path.is_dir() else []
    return f", but the sub-folder {folders[0]!a}" if folders else ""


def _read_slice(file: Path) -> _Slice:
    check_present(file)
    try:
        header, pixels = read_header(file, force=_lacks_only_the_preamble(file))
        # a malformed element raises when it is first looked at
        for tag in _LOOKED_AT:
            header.get(tag)
    except RefusedVolume:
        raise
    except Exception as error:
        # pydicom raises many kinds on malformed elements, RecursionError and zlib.error among them
        raise RefusedVolume(
            "unreadable", file, f"is not readable DICOM ({type(error).__name__}).", FETCH_AGAIN
        ) from error
    return _Slice(file, header, pixels)


def _lacks_only_the_preamble(file: Path) -> bool:
    """Tell whether a file begins with a data set, as those without preamble and mark do: with group 0008 or 0002."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        head = stream.read(8)
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    return len(head) == 8 and group in (0x0002, 0x0008) and element <= 0x0018


def _refuse_unread(path: Path, read: set[Path], files: list[Path]) -> None:
    """Refuse a folder in which something that looks like one of its slices cannot be read."""
    patterns = {form for file in read for form in (_pattern(file), *_without_suffix(file))}
    unread = [
        file
        for file in files
        if file not in read
        and file.suffix.lower() not in _BESIDE
        and (not patterns.isdisjoint((_pattern(file), *_without_suffix(file))) or file.is_symlink())
    ]
    if unread:
        names = ", ".join(ascii(file.name) for file in unread[:5])
        raise RefusedVolume(
            "unread_slices",
            path,
            f"holds {len(unread)} files that are named like its slices and are no DICOM: {names}.",
            "Fetch them again (a link may lead nowhere, or a file be empty), or move them away if they are no slices.",
        )


def _pattern(file: Path) -> str:
    return re.sub(r"\d+", "#", file.name.rstrip("~"))


def _without_suffix(file: Path) -> list[str]:
    """Return the pattern without the suffix, where that is one (`.dcm`, `.bak`) and no part of an identifier."""
    return [_pattern(file.with_suffix(""))] if re.fullmatch(r"\.[A-Za-z]\w*~?", file.suffix) else []


def _series_key(header: Dataset) -> tuple[object, ...]:
    return (
        *(str(header.get(tag, "")) for tag in _IDENTITY),
        code(header, "Modality"),
        "LOCALIZER" in image_type(header),
        header.get("SamplesPerPixel", 1),
        header.get("Rows"),
        header.get("Columns"),
    )


def _fault(members: list[_Slice]) -> Fault | None:
    """Return reason, problem and remedy of the first fault of a series; None if its slices are a CT in HU."""
    headers = [member.header for member in members]
    first = headers[0]
    if code(first, "Modality") != "CT":
        return "not_ct", f"is of modality {first.get('Modality') or 'unknown'}, not CT.", _CT_SERIES
    if "LOCALIZER" in image_type(first):
        return "localizer", "has only a localiser (scout).", _CT_SERIES
    photometric = {code(header, "PhotometricInterpretation") or "MONOCHROME2" for header in headers}
    if first.get("SamplesPerPixel", 1) != 1 or photometric - {"MONOCHROME1", "MONOCHROME2"}:
        return "colour", "has colour images, which are not in HU.", _CT_SERIES
    if "MONOCHROME1" in photometric:
        return "monochrome1", "has inverted (MONOCHROME1) images, which CT does not use.", _CT_SERIES
    for member in members:
        malformed = next((tag for tag in _NUMBERS if _is_malformed(member.header, tag)), None)
        if malformed:
            kind = "not one finite number" if malformed in _SINGLE else "not a number"
            return "unreadable", f"has a {malformed} that is {kind} in {member.file.name}.", FETCH_AGAIN
    for member in members:
        fault = rescale_fault(member.file.name, member.header)
        if fault:
            return fault
    if any(
        int(header.get("NumberOfFrames") or 1) > 1 or header.get("SOPClassUID") in _MULTI_FRAME for header in headers
    ):
        return "multi_frame", "is a multi-frame object.", "Convert it to NIfTI, or to one file for each slice."
    if len(members) < 2:
        return "not_a_volume", "is a single slice.", "Name the folder that holds all slices of the series."
    for member in members:
        if not all(len(numbers(member.header, tag) or []) == count for tag, count in _PLACING.items()):
            return "no_position", f"does not say where {member.file.name} lies in the patient.", FETCH_AGAIN
        fault = pixel_fault(member.file.name, member.header, member.pixels)
        if fault:
            return fault
    return None


def _stack(
    path: Path, members: list[_Slice], found: SlicePositions, notes: tuple[str, ...], rules: GridRules
) -> DicomStack:
    ordered = [members[index] for index in found.order]
    headers = [member.header for member in ordered]
    grid = _grid(path, headers[0], len(ordered), found.gap, rules)
    formats = [pixel_format(header) for header in headers]
    ours = all(form.ours for form in formats)
    if not ours and len(set(formats)) > 1:
        raise RefusedVolume(
            "pixel_format", path, "stores the pixels of its compressed slices in different ways.", FETCH_AGAIN
        )
    for member in ordered if not ours else ():
        fault = code_stream_fault(member.file.name, member.file, member.header)
        if fault:
            raise RefusedVolume(fault[0], path, fault[1], fault[2])
    rescales = {(float(header.RescaleSlope), float(header.RescaleIntercept)) for header in headers}
    paddings = {declared_padding(header) for header in headers}
    return DicomStack(
        files=tuple(member.file for member in ordered),
        grid=grid,
        voxels=DicomVoxels([(member.file, member.header, member.pixels) for member in ordered]) if ours else None,
        tilt=found.tilt,
        jitter=found.jitter,
        padding=paddings.pop() if len(paddings) == 1 and not ours else None,
        rescale_varies=len(rescales) > 1,
        notes=notes,
    )


def _grid(path: Path, header: Dataset, slices: int, gap: float, rules: GridRules) -> Grid:
    row, column = np.asarray(numbers(header, "ImageOrientationPatient")).reshape(2, 3)
    direction = np.stack([row, column, np.cross(row, column)], axis=1)
    down, across = numbers(header, "PixelSpacing") or (0.0, 0.0)
    size = (int(header.Columns), int(header.Rows), slices)
    origin = numbers(header, "ImagePositionPatient") or []
    return Grid.checked(path, size, 1, rules.max_voxels, lambda: (across, down, gap), lambda: direction, lambda: origin)


def _positions(path: Path, members: list[_Slice]) -> SlicePositions:
    positions, orientations, spacings = (
        np.array([numbers(member.header, tag) for member in members]) for tag in _PLACING
    )
    return check_positions(path, positions, orientations, spacings)


def _is_malformed(header: Dataset, tag: str) -> bool:
    found = numbers(header, tag)
    return found is None or (tag in _SINGLE and (len(found) > 1 or not all(map(math.isfinite, found))))


def _is_spread(members: list[_Slice]) -> bool:
    return len({tuple(member.header.ImagePositionPatient) for member in members}) > 1


def _describe(members: list[_Slice]) -> str:
    header = members[0].header
    kind = "localiser" if "LOCALIZER" in image_type(header) else header.get("Modality") or "unknown"
    return (
        f"{len(members)} {kind} images of {header.get('Columns')} × {header.get('Rows')} in series "
        f"'{header.get('SeriesInstanceUID', '')}' ({members[0].file.name} …)"
    )
