"""Checks of an image file before it is decoded: it exists, is not empty, and is of a known format."""

from pathlib import Path

from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_LFS = b"version https://git-lfs"
# what a file can be instead of what its name says, by its first bytes
_OTHER_KINDS = {
    b"PK\x03\x04": "a zip",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x1f\x8b": "a gzip file",
    b"\x1f\x9d": "a file of compress (.Z)",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\x04\x22\x4d\x18": "an LZ4 file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"<": "a web page, such as an error message of the download",
    b'{"': "a JSON text, such as an error message of the download",
    _LFS: "a Git LFS pointer",
}


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
    with path.open("rb") as stream:
        kind = other_kind(stream.read(512))
    if kind and not (kind == "a gzip file" and path.name.lower().endswith((".nii", ".nii.gz"))):
        raise no_image(path, kind)


def other_kind(head: bytes) -> str:
    """Return what a file is, by its first bytes, if it is none of the image formats; empty if that is unknown.

    Args:
        head: at least 512 bytes of a file that has so many.
    """
    if head[128:132] == b"DICM":
        return "a DICOM file"
    if head[257:262] == b"ustar":
        return "a tar"
    return next((kind for magic, kind in _OTHER_KINDS.items() if head.lstrip().startswith(magic)), "")


def no_image(path: Path, kind: str) -> RefusedVolume:
    """Return the refusal of a file that is something else than its name says."""
    return RefusedVolume(
        "unknown_format", path, f"is not what its name says, but {kind}.", "Unpack or convert it, or download it again."
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
