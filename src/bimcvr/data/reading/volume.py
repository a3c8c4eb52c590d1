"""The only reader of image files: NIfTI, MetaImage, NRRD and DICOM become int16 HU, canonically oriented.

What SimpleITK would accept with a warning, or fill in by itself, is checked in the headers beforehand and refused with
a named reason; voxels are decoded by code that verifies checksums and lengths, where the format allows it.
"""

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from bimcvr.data.hu.geometry import Axes, Geometry, axes_of
from bimcvr.data.hu.intensity import HUSlabs
from bimcvr.data.hu.model_grid import ModelGrid, Span
from bimcvr.data.hu.placement import Placement
from bimcvr.data.reading import metaimage, nrrd
from bimcvr.data.reading.dicom_pixels import DicomVoxels
from bimcvr.data.reading.dicom_series import DicomStack, find_stack, is_dicom
from bimcvr.data.reading.file_checks import SUFFIXES, check_file
from bimcvr.data.reading.grid import DEFAULT_RULES, Grid, GridRules
from bimcvr.data.reading.nifti import read_nifti
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume, escaped, refusing_denied
from bimcvr.data.reading.voxels import ArrayVoxels, DecodedVoxels, StreamedVoxels

__all__ = [
    "Geometry",
    "NativeImage",
    "RefusedVolume",
    "Volume",
    "data_files",
    "geometry_of",
    "read_image",
    "read_volume",
]

SLAB, _SLAB_VOXELS = 8, 1 << 25
_INT16_MAX = 32767.0

Voxels = ArrayVoxels | DecodedVoxels | DicomVoxels | StreamedVoxels


@dataclass(frozen=True)
class Volume:
    """A CT volume in HU.

    Attributes:
        hu: int16 (D, H, W) = (inferior to superior, anterior to posterior, right to left).
        spacing: mm between voxels along (D, H, W).
        geometry: a record of the source grid.
        placement: where its voxels lie in the source and in the patient.
        lungs_outside: the share of the lungs' voxels that a grid of given spacing cuts away; None where it cuts the
            volume and no lungs are found.
    """

    hu: np.ndarray
    spacing: tuple[float, float, float]
    geometry: Geometry
    placement: Placement
    lungs_outside: float | None = 0.0


class NativeImage(NamedTuple):
    """A checked image in the file's own axes, its voxels not yet read or only just decoded.

    Attributes:
        path: the source.
        voxels: in HU, read slab by slab.
        shape: number of voxels along the file's axes (z, y, x).
        spacing: mm along the same axes.
        direction: (3, 3); column k is where image axis k (x, y, z) points in LPS.
        origin: the middle of the first voxel, mm x, y, z in LPS; NaN where the header has no numbers for it.
        axes: how these axes lie in the patient.
        stack: what the DICOM headers say; None for other formats.
    """

    path: Path
    voxels: Voxels
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    direction: np.ndarray
    origin: tuple[float, float, float]
    axes: Axes
    stack: DicomStack | None

    def canonical(self) -> tuple[list[int], list[float]]:
        """Return shape and spacing along canonical axes."""
        return [self.shape[axis] for axis in self.axes.order], [self.spacing[axis] for axis in self.axes.order]

    def slabs(self) -> Iterator[np.ndarray]:
        """Yield the voxels in HU, any numeric type, in slabs along the first axis, in order.

        Raises:
            RefusedVolume: they cannot be decoded.
        """
        with refusing(self.path):
            yield from self.voxels.slabs(max(1, min(SLAB, _SLAB_VOXELS // math.prod(self.shape[1:]))))

    def cleaner(self, highest: float) -> HUSlabs:
        """Return the object that turns the voxels into clean HU, clipped above `highest` HU."""
        return HUSlabs(self.shape, self.axes, self.stack.padding if self.stack else None, highest)


def read_volume(path: Path, rules: GridRules = DEFAULT_RULES) -> Volume:
    """Read a volume at full resolution.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        rules: which grids are accepted.

    Raises:
        RefusedVolume: it is not a regular volume in HU; `reason` says why.
    """
    native = read_image(path, rules)
    cleaner = native.cleaner(_INT16_MAX)
    with refusing(path):
        hu = np.empty([native.shape[axis] for axis in native.axes.order], dtype=np.int16)
        target = native.axes.native(hu)
        for start, slab in cleaner.clean(native.slabs()):
            target[start : start + len(slab)] = np.rint(slab)
    geometry = geometry_of(native, cleaner)
    whole = ModelGrid(geometry.native_size)
    return Volume(hu, geometry.native_spacing, geometry, placed(native, whole, whole.spans(*native.canonical(), None)))


def read_image(path: Path, rules: GridRules = DEFAULT_RULES) -> NativeImage:
    """Check the headers of a source and open it; its axes stay as they are.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file, or a folder with the slices of one DICOM series.
        rules: which grids are accepted.

    Raises:
        RefusedVolume: it is not a regular volume in HU; `reason` says why.
    """
    path = Path(path)
    with refusing(path):
        return _checked_image(path, rules)


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong inside the block into a refusal: one volume must not end a batch.

    Messages of errors quote header values, which may identify the patient, so the refusal leaves them out.

    Args:
        path: the source.

    Raises:
        RefusedVolume: anything else than an interrupt was raised.
    """
    try:
        with refusing_denied(path):
            yield
    except RefusedVolume:
        raise
    except MemoryError as error:
        raise RefusedVolume(
            "too_large", path, "does not fit into this machine's memory.", "Run it alone, or on a larger machine."
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk, too many open files: it concerns every volume
        wrong = f"has a malformed header or voxels that cannot be decoded ({type(error).__name__})."
        raise RefusedVolume("unreadable", path, wrong, FETCH_AGAIN) from error


def _checked_image(path: Path, rules: GridRules) -> NativeImage:
    if path.is_dir() or (path.is_file() and not path.name.lower().endswith(SUFFIXES) and is_dicom(path)):
        stack = find_stack(path, rules)
        decoded = stack.voxels or DecodedVoxels(_decode_stack(path, stack))
        return _native_of(path, decoded, stack.grid, stack)
    check_file(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        grid, voxels = read_nifti(path, rules)
        return _native_of(path, voxels, grid, None)
    grid, array = (nrrd.read_nrrd if name.endswith((".nrrd", ".nhdr")) else metaimage.read_metaimage)(path, rules)
    return _native_of(path, ArrayVoxels(array), grid, None)


def data_files(path: Path) -> list[Path]:
    """Return the other files that the header of a MetaImage or NRRD names; none for other formats.

    Files of a header that cannot be read are none: the reader says what is wrong with it.
    """
    name = path.name.lower()
    try:
        if name.endswith((".mha", ".mhd")):
            return metaimage.data_files(path)
        return nrrd.data_files(path) if name.endswith((".nrrd", ".nhdr")) else []
    except RefusedVolume:
        return []


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


def placed(native: NativeImage, grid: ModelGrid, spans: Sequence[Span]) -> Placement:
    """Return where an image lies in the patient and, by `spans`, on a model's grid."""
    return Placement.of(native.shape, native.spacing, native.direction, native.origin, native.axes, grid.size, spans)


def _native_of(path: Path, voxels: Voxels, grid: Grid, stack: DicomStack | None) -> NativeImage:
    axes = axes_of(grid.direction)
    return NativeImage(path, voxels, grid.shape, grid.spacing, grid.direction, grid.origin, axes, stack)


def _decode_stack(path: Path, stack: DicomStack) -> Any:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageSeriesReader()
    if stack.rescale_varies:
        # otherwise the first slice decides the type of all: a fractional slope of a later one would be cut to integers
        reader.SetOutputPixelType(sitk.sitkFloat32)
    with _plain_names(stack.files) as names:
        reader.SetFileNames(names)
        try:
            return reader.Execute()
        except RuntimeError as error:
            raise _undecodable(path, error) from error


@contextlib.contextmanager
def _plain_names(files: Sequence[Path]) -> Iterator[list[str]]:
    """Yield names under which SimpleITK can open files: it ends the process on one that is not UTF-8."""
    if all(escaped(file) == str(file) for file in files):
        yield [str(file) for file in files]
        return
    with tempfile.TemporaryDirectory(prefix="bimcvr-") as folder:
        names = [os.path.join(folder, f"{number}.dcm") for number in range(len(files))]
        for file, name in zip(files, names, strict=True):
            os.symlink(file.absolute(), name)
        yield names


def _undecodable(path: Path, error: RuntimeError) -> RefusedVolume:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[-1] if lines else "no reason given"
    return RefusedVolume("unreadable", path, f"cannot be decoded ({cause}).", FETCH_AGAIN)
