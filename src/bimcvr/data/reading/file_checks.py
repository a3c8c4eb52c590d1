"""Checks of an image file before it is decoded: it exists, is not empty, and is of a known format."""

from pathlib import Path

from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_LFS = b"version https://git-lfs"


def check_file(path: Path) -> None:
    """Refuse a file that is missing, empty, a Git LFS pointer, or of unknown format.

    Args:
        path: a NIfTI, MHA/MHD or NRRD file.

    Raises:
        RefusedVolume: with the reason `missing_file`, `empty_file`, `git_lfs_pointer` or `unknown_format`.
    """
    check_present(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise RefusedVolume(
            "unknown_format",
            path,
            "is of an unknown format.",
            f"Give a file that ends in {', '.join(SUFFIXES)}, or a folder with DICOM slices.",
        )


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
