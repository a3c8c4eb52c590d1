"""Checks of an image file before it is decoded: it exists, it is complete, it is a grid of scalars."""

from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.data.reading.nifti import check_nifti
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume, no_spacing, sheared_grid
from bimcvr.data.reading.voxels import StreamedVoxels

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_LFS = b"version https://git-lfs"


def check_file(path: Path) -> StreamedVoxels | None:
    """Refuse a file that is missing, empty, a Git LFS pointer, cut short, of unknown format, or without orientation.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file.

    Returns:
        The voxels, if the format can be read slab by slab; else None.

    Raises:
        RefusedVolume: with the reason `missing_file`, `empty_file`, `git_lfs_pointer`, `unknown_format`,
            `unreadable`, `truncated`, `no_spacing`, `no_orientation` or `sheared_grid`.
    """
    check_present(path)
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise RefusedVolume(
            "unknown_format",
            path,
            "is of an unknown format.",
            f"Give a file that ends in {', '.join(SUFFIXES)}, or a folder with DICOM slices.",
        )
    if name.endswith((".nii", ".nii.gz")):
        return check_nifti(path)
    if name.endswith((".mha", ".mhd")):
        _check_metaimage(path)
    return None


def check_present(path: Path) -> None:
    """Refuse a file that does not exist, is empty, or is a Git LFS pointer.

    Raises:
        RefusedVolume: with the reason `missing_file`, `empty_file` or `git_lfs_pointer`.
    """
    if not path.is_file():
        raise RefusedVolume(
            "missing_file", path, "does not exist.", "Correct the path, or the folder that it is relative to."
        )
    with path.open("rb") as stream:
        head = stream.read(len(_LFS))
    if not head:
        raise RefusedVolume("empty_file", path, "is empty.", FETCH_AGAIN)
    if head == _LFS:
        raise RefusedVolume(
            "git_lfs_pointer",
            path,
            "is a Git LFS pointer, not the file itself.",
            "Run `git lfs pull` in its repository, or download the file.",
        )


def check_grid(path: Path, reader: Any) -> None:
    """Refuse an image that is not a rectangular grid of scalars with three axes.

    Args:
        path: the file.
        reader: a SimpleITK ImageFileReader that has read the file's information.

    Raises:
        RefusedVolume: with the reason `colour`, `not_a_volume`, `no_spacing` or `sheared_grid`.
    """
    values = reader.GetNumberOfComponents()
    if values > 1:
        raise RefusedVolume(
            "colour",
            path,
            f"has {values} values a voxel: it is a colour or vector image.",
            "Give the CT itself, one HU value a voxel.",
        )
    size = reader.GetSize()
    if len(size) not in (3, 4) or min(size[:3]) < 2 or max(size[3:], default=1) > 1:
        raise RefusedVolume(
            "not_a_volume",
            path,
            f"is {' × '.join(map(str, size))} voxels, not three axes of at least two.",
            "Give a file with one volume; single slices and time series are not volumes.",
        )
    spacing = np.asarray(reader.GetSpacing()[:3])
    if not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise no_spacing(path, tuple(spacing))
    cosines = np.asarray(reader.GetDirection()).reshape(len(size), len(size))[:3, :3]
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-2):
        raise sheared_grid(path)


def _check_metaimage(path: Path) -> None:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for raw in stream:
            key, _, value = raw[:1024].decode("latin-1").partition("=")
            fields[key.strip()] = value.strip()
            if "ElementDataFile" in fields or len(fields) > 200:
                break
        body = path.stat().st_size - stream.tell()
    data = fields.get("ElementDataFile", "")
    if not data:
        raise RefusedVolume("unreadable", path, "is not a MetaImage header: it has no ElementDataFile.", FETCH_AGAIN)
    if data.upper() == "LOCAL":
        promised = fields.get("CompressedDataSize", "0")
        if promised.isdigit() and body < int(promised):
            raise RefusedVolume(
                "truncated", path, f"ends before the {promised} bytes of voxels that its header promises.", FETCH_AGAIN
            )
    elif data.upper() != "LIST" and "%" not in data:
        voxels = path.parent / data
        if not voxels.is_file():
            raise RefusedVolume(
                "missing_file",
                path,
                f"keeps its voxels in {data}, which is not beside it.",
                "Copy the two files together.",
            )
        check_present(voxels)
