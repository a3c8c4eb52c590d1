"""Uploaded volumes: checked before they are decoded, and deleted afterwards.

An upload cannot choose where anything is written (members of a zip are renamed to numbers), nor what is read (headers
that refer to other files are refused), nor how much memory is used (voxels are counted in the headers first).
"""

import errno
import fcntl
import math
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bimcvr.atomic_files import only_one
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.decompression_bombs import RATIO, is_bomb
from bimcvr.errors import UserError
from bimcvr.search.uploading.series_choice import keep_series

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd", ".zip")
"""Formats that may be uploaded; those with the voxels in a second file (.mhd, .nhdr) may not."""

MOST_VOXELS = 2**29
"""512 × 512 × 2,048: a GiB of int16, twice the longest chest and abdomen scan."""

MOST_BYTES = 2**31
"""The largest size of the voxels once decoded, and of a zip once unpacked."""

_LOCK = ".lock"
_LONGEST_SIDE = 4096
_MOST_MEMBERS = 5000
_CHUNK = 1 << 20
_SEND_FILE = "Send the complete file itself."
_SEND_SERIES = "Send a zip of the folder with the slices of one DICOM series."


def suffix_of(name: str) -> str:
    """Return which of `SUFFIXES` a file's name ends in.

    Args:
        name: the file's name.

    Returns:
        The suffix.

    Raises:
        RefusedVolume: none of them.
    """
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return suffix
    raise _refused(
        "unknown_format",
        "is not in a format that can be uploaded.",
        f"Send a file that ends in {', '.join(SUFFIXES[:-1])}, or a .zip of a DICOM series.",
    )


@contextmanager
def upload_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder that only this process's user can enter; it is deleted at the end, whatever happens."""
    parent.mkdir(parents=True, exist_ok=True)
    folder, lock = _locked_folder(parent)
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(parent: Path) -> tuple[Path, IO[str]]:
    """Create a folder and hold its lock; try again if a server that is just starting deleted it as left behind."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"upload-{os.getpid()}-", dir=parent))
        with suppress(FileNotFoundError):
            lock = (folder / _LOCK).open("a")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            lock.close()


def sweep_uploads(parent: Path) -> None:
    """Delete uploads left by servers that were killed: those whose lock no process holds.

    Args:
        parent: the folder of uploads.
    """
    for folder in parent.glob("upload-*"):
        with suppress(UserError, OSError), only_one(folder / _LOCK, "A server is using this upload."):
            shutil.rmtree(folder, ignore_errors=True)


def open_upload(file: Path, folder: Path, series: int | None = None) -> Path:
    """Check an upload, and unpack it if it is a zip.

    Args:
        file: the upload; its name ends in one of `SUFFIXES`.
        folder: the folder of this upload alone.
        series: of a zip with several series, the number of the one that is meant (`series_choice`).

    Returns:
        What the volume reader can read: the file, or the folder of slices that a zip was unpacked to.

    Raises:
        RefusedVolume: it is too large, refers to other files, or is not a zip of slices.
    """
    if file.suffix == ".zip":
        source = folder / "series"
        source.mkdir()
        _unpack(file, source)
        _check_slices(source)
        if series is not None:
            keep_series(source, series)
        return source
    if file.suffix in (".mha", ".nrrd"):
        _check_self_contained(file)
    _check_size(file)
    return file


def _unpack(file: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            _check_members(members, file.stat().st_size)
            for number, member in enumerate(members):
                with packed.open(member) as stream, (folder / _name_for(number, member.filename)).open("wb") as out:
                    _copy(stream, out, member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # of this machine, not of the upload
        raise _refused(
            "damaged", f"is not a zip that can be unpacked ({type(error).__name__}).", _SEND_SERIES
        ) from error


def _name_for(number: int, name: str) -> str:
    """Return a safe name for a member: its letters, by which slices are told from a read-me, and its number."""
    if name.upper().endswith("DICOMDIR"):
        return "DICOMDIR"
    stem, _, suffix = name.replace("\\", "/").rsplit("/", 1)[-1].partition(".")
    letters, ending = (re.sub("[^A-Za-z]", "", part)[:16] for part in (stem, suffix))
    return f"{letters}{number:05}" + (f".{ending.lower()}" if ending else "")


def _check_members(members: list[zipfile.ZipInfo], packed: int) -> None:
    if not members:
        raise _refused("no_dicom", "contains no file.", _SEND_SERIES)
    if len(members) > _MOST_MEMBERS:
        raise _refused("too_large", f"contains {len(members):,} files; the limit is {_MOST_MEMBERS:,}.", _SEND_SERIES)
    unpacked = sum(member.file_size for member in members)
    if unpacked > MOST_BYTES:
        raise _refused("bomb", f"would unpack to over {MOST_BYTES / 2**30:.0f} GiB.", _SEND_SERIES)
    # compared with the size of the file: members may overlap, and claim any packed size
    if is_bomb(unpacked, packed):
        raise _refused("bomb", f"would unpack to over {RATIO} times its size.", _SEND_SERIES)
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.filename.startswith(("/", "\\")) or member.filename[1:2] == ":" or ".." in parts:
            raise _refused("path_traversal", "has a member whose path leads out of its folder.", _SEND_SERIES)
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused("special_file", "has a member that is not a regular file.", _SEND_SERIES)
        if member.flag_bits & 1:
            raise _refused("encrypted", "is encrypted.", "Send it without a password.")
        if is_bomb(member.file_size, member.compress_size):
            raise _refused("bomb", f"has a member that would unpack to over {RATIO} times its size.", _SEND_SERIES)


def _copy(stream: IO[bytes], out: IO[bytes], size: int) -> None:
    """Copy no more than the zip's directory claims: overlapping members and forged sizes cannot fill the disk."""
    written = 0
    while chunk := stream.read(_CHUNK):
        written += len(chunk)
        if written > size:
            raise zipfile.BadZipFile
        out.write(chunk)
    if written < size:
        raise EOFError


# the tags that give a slice's size, and what is assumed where one is missing
_COUNTED = {"Rows": 1, "Columns": 1, "NumberOfFrames": 1, "SamplesPerPixel": 1, "BitsAllocated": 16}


def _check_slices(folder: Path) -> None:
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    from bimcvr.data.reading.dicom_series import is_dicom

    slices = [path for path in sorted(folder.iterdir()) if is_dicom(path)]
    voxels = values = 0
    for path in slices:
        try:
            if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                # pydicom would inflate all of it, to any size, before anything can be counted
                raise _refused(
                    "deflated",
                    "has a member that is deflated as a whole, and may be of any size once inflated.",
                    "Write it uncompressed, or with a compression of its pixels (dcmdjpeg, gdcmconv).",
                )
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_COUNTED))
            rows, columns, frames, components, bits = (
                int(header.get(tag) or default) for tag, default in _COUNTED.items()
            )
        except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _refused("unreadable", "has a member that is not readable DICOM.", _SEND_SERIES) from error
        voxels += rows * columns * frames
        values += rows * columns * frames * components * math.ceil(bits / 8)
        _check_voxels(voxels, values, (rows, columns))
    if not slices:
        raise _refused("no_dicom", "contains no DICOM file.", _SEND_SERIES)


def _check_self_contained(file: Path) -> None:
    """Refuse a header that has the voxels read from another file on this machine."""
    with file.open("rb") as stream:
        head = stream.read(1 << 16)
    if file.suffix == ".mha":
        # the library accepts `:` for `=` and a lone carriage return as the end of a line; so the key must appear
        # exactly once, in the plain form
        sound = len(re.findall(rb"(?i)ElementDataFile", head)) == 1
        sound = sound and re.search(rb"\nElementDataFile[ \t]*=[ \t]*LOCAL[ \t]*\r?\n", head) is not None
    else:
        sound = re.search(rb"\n\r?\n", head) is not None and not re.search(rb"(?i)data[ \t]*file", head)
    if not sound:
        raise _refused(
            "refers_elsewhere", "does not contain its voxels itself, or its header is not complete.", _SEND_FILE
        )


def _check_size(file: Path) -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _refused("unreadable", "has no readable header.", _SEND_FILE) from error
    size = tuple(map(int, reader.GetSize()))
    voxels = math.prod(size)
    _check_voxels(voxels, voxels * reader.GetNumberOfComponents() * _bytes_of(reader.GetPixelID()), size)


def _bytes_of(pixel_id: int) -> int:
    """Return the size of a component; complex and unknown kinds count as the largest."""
    import SimpleITK as sitk

    kind = sitk.GetPixelIDValueAsString(pixel_id)
    bits = re.search(r"(\d+)-bit", kind)
    return int(bits[1]) // 8 if bits and "complex" not in kind else 16


def _check_voxels(voxels: int, size: int, sides: tuple[int, ...]) -> None:
    if voxels > MOST_VOXELS or max(sides) > _LONGEST_SIDE:
        raise _refused(
            "too_large",
            f"claims {voxels:,} voxels; the limits are {MOST_VOXELS:,} voxels, and {_LONGEST_SIDE:,} along a side.",
            "Cut or resample the volume.",
        )
    if size > MOST_BYTES:
        raise _refused(
            "too_large",
            f"claims {size:,} bytes of voxels; the limit is {MOST_BYTES:,}.",
            "Cut or resample the volume, or write it as 16-bit integers.",
        )


def _refused(reason: str, wrong: str, remedy: str) -> RefusedVolume:
    return RefusedVolume(reason, "The upload", wrong, remedy)
