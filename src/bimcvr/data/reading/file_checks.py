"""Checks of an image file before it is decoded: it exists, is not empty, and is of a known format."""

from pathlib import Path

from bimcvr.data.reading.nifti import check_nifti
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume
from bimcvr.data.reading.voxels import StreamedVoxels

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_LFS = b"version https://git-lfs"


def check_file(path: Path) -> StreamedVoxels | None:
    """Refuse a file that is missing, empty, a Git LFS pointer, of unknown format, or without orientation.

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
