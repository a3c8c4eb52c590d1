"""The only reader of image files: NIfTI, MetaImage, NRRD and DICOM become int16 HU, canonically oriented.

SimpleITK decodes the voxels. What it would accept with a warning, or fill in by itself, is checked in the headers
beforehand and refused with a named reason.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from bimcvr.data.reading.dicom_series import DicomStack, find_stack, is_dicom
from bimcvr.data.reading.file_checks import SUFFIXES, check_file, check_grid
from bimcvr.data.reading.geometry import Axes, Geometry, axes_of
from bimcvr.data.reading.intensity import HUSlabs
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume
from bimcvr.data.reading.voxels import DecodedVoxels, StreamedVoxels

__all__ = ["Geometry", "NativeImage", "RefusedVolume", "Volume", "geometry_of", "read_image", "read_volume"]

SLAB = 8
_INT16_MAX = 32767.0


@dataclass(frozen=True)
class Volume:
    """A CT volume in HU.

    Attributes:
        hu: int16 (D, H, W) = (inferior to superior, anterior to posterior, right to left).
        spacing: mm between voxels along (D, H, W).
        geometry: a record of the source grid.
    """

    hu: np.ndarray
    spacing: tuple[float, float, float]
    geometry: Geometry


class NativeImage(NamedTuple):
    """A checked image in the file's own axes, its voxels not yet read or only just decoded.

    Attributes:
        voxels: in HU, to be read once, slab by slab.
        shape: number of voxels along the file's axes (z, y, x).
        spacing: mm along the same axes.
        axes: how these axes lie in the patient.
        stack: what the DICOM headers say; None for other formats.
    """

    voxels: DecodedVoxels | StreamedVoxels
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: Axes
    stack: DicomStack | None

    def cleaner(self, highest: float) -> HUSlabs:
        """Return the object that turns the voxels into clean HU, clipped above `highest` HU."""
        return HUSlabs(self.shape, self.axes, self.stack.padding if self.stack else None, highest)


def read_volume(path: Path) -> Volume:
    """Read a volume at full resolution.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.

    Raises:
        RefusedVolume: it is not a regular volume in HU; `reason` says why.
    """
    native = read_image(path)
    cleaner = native.cleaner(_INT16_MAX)
    hu = np.empty(native.shape, dtype=np.int16)
    for start, slab in cleaner.clean(native.voxels.slabs(SLAB)):
        hu[start : start + len(slab)] = np.rint(slab)
    geometry = geometry_of(native, cleaner)
    return Volume(np.ascontiguousarray(native.axes.canonical(hu)), geometry.native_spacing, geometry)


def read_image(path: Path) -> NativeImage:
    """Check the headers of a source and open it; its axes stay as they are.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.

    Raises:
        RefusedVolume: it is not a regular volume in HU; `reason` says why.
    """
    try:
        return _checked_image(Path(path))
    except (ValueError, TypeError, OverflowError, AttributeError, LookupError, struct.error) as error:
        # errors that malformed headers cause; header values may identify the patient, so the message leaves them out
        raise RefusedVolume(
            "unreadable", path, f"has a malformed header ({type(error).__name__}).", FETCH_AGAIN
        ) from error


def _checked_image(path: Path) -> NativeImage:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    if path.is_dir() or (path.is_file() and not path.name.lower().endswith(SUFFIXES) and is_dicom(path)):
        stack = find_stack(path)
        image = _decode_stack(path, stack)
        return _native_of(DecodedVoxels(image), image, stack)
    streamed = check_file(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        check_grid(path, reader)
        if streamed:
            return _native_of(streamed, reader, None)
        if reader.GetDimension() == 4:
            reader.SetExtractSize([*reader.GetSize()[:3], 0])
        image = reader.Execute()
    except RuntimeError as error:
        raise _undecodable(path, error) from error
    return _native_of(DecodedVoxels(image), image, None)


def geometry_of(native: NativeImage, cleaner: HUSlabs) -> Geometry:
    """Return the record of the source grid, once all its voxels have passed through `cleaner`."""
    inside, outside = cleaner.padding_shares()
    stack = native.stack
    depth, height, width = native.axes.order
    return Geometry(
        native_size=(native.shape[depth], native.shape[height], native.shape[width]),
        native_spacing=(native.spacing[depth], native.spacing[height], native.spacing[width]),
        orientation=native.axes.letters,
        obliquity=native.axes.obliquity,
        tilt=stack.tilt if stack else 0.0,
        jitter=stack.jitter if stack else 0.0,
        padding_inside=inside,
        padding_outside=outside,
        not_finite=cleaner.not_finite,
        notes=stack.notes if stack else (),
    )


def _native_of(voxels: DecodedVoxels | StreamedVoxels, grid: Any, stack: DicomStack | None) -> NativeImage:
    """`grid` is the SimpleITK image, or the reader that has read its information."""
    width, height, depth = grid.GetSize()[:3]
    across, back, up = grid.GetSpacing()[:3]
    rank = grid.GetDimension()
    direction = np.asarray(grid.GetDirection()).reshape(rank, rank)[:3, :3]
    return NativeImage(voxels, (depth, height, width), (up, back, across), axes_of(direction), stack)


def _decode_stack(path: Path, stack: DicomStack) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in stack.files])
    if stack.rescale_varies:
        # otherwise the first slice decides the type of all: a fractional slope of a later one would be cut to integers
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _undecodable(path, error) from error
    image.SetSpacing([*image.GetSpacing()[:2], stack.gap])
    return image


def _undecodable(path: Path, error: RuntimeError) -> RefusedVolume:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[-1] if lines else "no reason given"
    return RefusedVolume("unreadable", path, f"cannot be decoded ({cause}).", FETCH_AGAIN)
