"""The directory of a zip: opened with the true reason where it cannot be read, and its members listed."""

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bimcvr.curation.archives.member_names import is_hidden, member_path
from bimcvr.data.reading.file_checks import other_kind
from bimcvr.decompression_bombs import is_bomb

# what zipfile raises over damaged bytes; some decoders raise an OSError without a number
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    RuntimeError,
    OverflowError,
)
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# the zip specification, APPNOTE 4.4.5
_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    10: "PKWARE's Implode",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
    99: "AES encryption",
}


class UnreadableZip(Exception):
    """A zip cannot be opened.

    Args:
        reason: a short name to count by.
        problem: what is wrong and what to do, as the end of a sentence that begins with the file.

    Attributes:
        reason: the short name.
    """

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(reason, problem)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


class ZipMember(NamedTuple):
    """A member's path (with `/` between folders), its size after unpacking, and its checksum."""

    path: str
    size: int
    crc: int


@contextmanager
def open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip.

    Args:
        archive: the file.

    Raises:
        UnreadableZip: it is no readable zip; the error says why.
    """
    try:
        packed = zipfile.ZipFile(archive)
    except (*ZIP_DAMAGE, OSError) as error:
        raise _reason_for(archive, error) from error
    with packed:
        if _says_split(archive):
            raise _split(archive)
        yield packed


def zip_members(archive: Path) -> list[ZipMember]:
    """List the files in a zip without hidden ones.

    Args:
        archive: the file.

    Raises:
        UnreadableZip: it is no readable zip; the error says why.
    """
    with open_zip(archive) as packed:
        members = [
            ZipMember(member_path(member_name(item)), item.file_size, item.CRC)
            for item in packed.infolist()
            if not item.is_dir()
        ]
    return [member for member in members if not is_hidden(member.path)]


def member_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; macOS writes UTF-8 without its flag, which zipfile reads as code page 437."""
    if member.flag_bits & 0x800 or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def member_fault(member: zipfile.ZipInfo, ratio: float) -> tuple[str, str] | None:
    """Return reason and message for a member that cannot be unpacked; None for any other.

    Args:
        member: the member.
        ratio: how many times it may exceed its packed size.
    """
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "symlink", "is a symbolic link. Put the file itself into the archive."
    if kind not in (0, stat.S_IFREG):
        return "special_file", "is neither a file nor a folder."
    if member.flag_bits & 1:
        return "encrypted", "is encrypted. Unpack it with its password first."
    if member.compress_type not in _READABLE:
        method = _METHODS.get(member.compress_type, "an unknown method")
        return (
            "unsupported_method",
            f"is packed with {method} (method {member.compress_type}), which is not supported. Unpack the archive with"
            " 7-Zip (`7z x`), and pack it again with Deflate (`7z a -tzip -mm=Deflate`).",
        )
    if member.flag_bits & 0x20:
        return "unsupported_method", "is a patch of another file, which is not supported. Pack the file itself."
    if is_bomb(member.file_size, member.compress_size, ratio):
        return "bomb", f"would unpack to {member.file_size / 1e6:.0f} MB, over {ratio:g} times its size."
    return None


def _reason_for(archive: Path, error: Exception) -> UnreadableZip:
    first_part = archive.stem.lower() + ".z01"
    if _says_split(archive) or any(name.lower() == first_part for name in os.listdir(archive.parent)):
        return _split(archive)
    try:
        with archive.open("rb") as stream:
            head = stream.read(512)
    except OSError as unreadable:
        return UnreadableZip("unreadable", f"cannot be opened ({unreadable.strerror}). Check the file's permissions.")
    if not head:
        return UnreadableZip("bad_zip", "is empty. Download it again.")
    kind = other_kind(head)
    if kind and kind != "a zip":
        return UnreadableZip("bad_zip", f"is not a zip but {kind}. Download it again, or unpack it yourself.")
    return UnreadableZip("bad_zip", f"is not a readable zip ({error}). Download it again.")


def _says_split(archive: Path) -> bool:
    """Return whether a zip is a part of a split archive, by its first bytes and the end of its directory."""
    try:
        with archive.open("rb") as stream:
            head = stream.read(4)
            stream.seek(max(0, archive.stat().st_size - (1 << 16) - 22))
            tail = stream.read()
    except OSError:
        return False
    end = tail.rfind(b"PK\x05\x06")
    disk = int.from_bytes(tail[end + 4 : end + 6], "little") if end >= 0 and len(tail) >= end + 22 else 0
    # 0xffff: the number is in the zip64 record
    return head == b"PK\x07\x08" or 0 < disk < 0xFFFF


def _split(archive: Path) -> UnreadableZip:
    stem = archive.stem
    return UnreadableZip(
        "split_archive",
        f"is one part of a split zip ({stem}.z01, {stem}.z02 …, {stem}.zip). Put all parts into one folder, join them"
        f" with `zip -s 0 {stem}.zip --out {stem}-joined.zip`, and move the parts away.",
    )
