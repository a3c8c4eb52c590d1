"""Extraction of a zip or tar archive, member by member, under the rules of safe unpacking."""

import errno
import hashlib
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from isal import igzip
from isal.igzip_lib import IsalError

from bimcvr.curation.archives.forward_stream import ForwardStream
from bimcvr.curation.study import SetAside
from bimcvr.decompression_bombs import RATIO, is_bomb

_CHUNK = 1 << 20
# what zipfile, tarfile and the decompressors raise over damaged bytes; isal declares its classes as instances
_DAMAGE: Any = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    igzip.BadGzipFile,
    IsalError,
    struct.error,
    ValueError,
    RuntimeError,
    OverflowError,
)


@dataclass(frozen=True)
class ArchiveLimits:
    """How large an archive may become before it is refused as a decompression bomb.

    Attributes:
        total_bytes: size of all members. A shard of the released BIMCV-R packs 70 GB, and users report up to five times
            that.
        ratio: how many times a member of over 10 MB may exceed its packed size; text packs 10 to 30 times.
        members: number of members.
    """

    total_bytes: int = 400 * 10**9
    ratio: float = float(RATIO)
    members: int = 2_000_000


class ArchiveExtractor:
    """Extracts the members of one archive into a folder.

    Args:
        archive: a zip or tar file.
        folder: the target folder, which exists.
        limits: how large the archive may become.
        wanted: which members to write, by their path.

    Attributes:
        set_aside: the members that were not extracted, with reasons; filled by `extract_all`.
        passed_over: the number of members that were not wanted, by suffix.
    """

    def __init__(self, archive: Path, folder: Path, limits: ArchiveLimits, wanted: Callable[[str], bool]) -> None:
        self.archive = archive
        self.folder = folder
        self.limits = limits
        self.wanted = wanted
        self.set_aside: list[SetAside] = []
        self.passed_over: Counter[str] = Counter()
        self._seen: set[str] = set()

    def extract_all(self) -> None:
        """Write every member that can be extracted and is not on disk yet.

        Raises:
            OSError: the folder cannot be written to.
        """
        extract = self._extract_zip if self.archive.name.lower().endswith(".zip") else self._extract_tar
        try:
            extract()
        except _Bomb as bomb:
            self._refuse("", "bomb", f"{bomb} Inspect it, and raise the limit if it is legitimate.")
        except (*_DAMAGE, OSError) as error:
            if not _is_damage(error):
                raise
            reason = "truncated" if isinstance(error, EOFError) or "unexpected end" in str(error) else "damaged"
            self._refuse(
                "", reason, f"cannot be read to its end ({error}). The members before were taken; download it again."
            )

    def _extract_zip(self) -> None:
        with zipfile.ZipFile(self.archive) as packed:
            members = packed.infolist()
            self._check_room(sum(member.file_size for member in members), len(members))
            for member in members:
                kind = stat.S_IFMT(member.external_attr >> 16)
                if member.is_dir():
                    continue
                if fault := _zip_fault(member, kind, self.limits):
                    self._refuse(member.filename, *fault)
                elif self._accepts(member.filename):
                    with self._setting_damage_aside(member.filename), packed.open(member) as stream:
                        self._write(member.filename, member.file_size, stream)

    def _extract_tar(self) -> None:
        with self.archive.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = igzip.IGzipFile(fileobj=raw) if gzipped else raw
            forward = ForwardStream(stream, lambda written: self._check_growth(written, raw.tell()))
            with closing(tarfile.open(fileobj=forward, mode="r:")) as packed:  # type: ignore[call-overload]
                for member in packed:
                    self._extract_tar_member(packed, member)
                if forward.rest_is_data(packed.offset):
                    self._refuse("", "damaged", "has more data after its last readable member. Download it again.")

    def _extract_tar_member(self, packed: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.isdir():
            return
        if fault := _tar_fault(member):
            self._refuse(member.name, *fault)
        elif self._accepts(member.name):
            stream = packed.extractfile(member)
            if stream is not None:
                self._write(member.name, member.size, stream)

    def _accepts(self, name: str) -> bool:
        """Return whether to write a member; one that is not written is counted or set aside."""
        if fault := _name_fault(name):
            self._refuse(name, *fault)
            return False
        if not self.wanted(name):
            self.passed_over["".join(PurePosixPath(name).suffixes[-1:])] += 1
            return False
        if name in self._seen:
            self._refuse(name, "duplicate_member", "appears more than once; the first was taken.")
            return False
        self._seen.add(name)
        if len(self._seen) > self.limits.members:
            raise _Bomb(f"has over {self.limits.members} members.")
        return True

    @contextmanager
    def _setting_damage_aside(self, name: str) -> Iterator[None]:
        """Set aside a member whose bytes are damaged; the others can still be extracted."""
        try:
            yield
        except (*_DAMAGE, OSError) as error:
            if not _is_damage(error):
                raise
            self._refuse(name, "damaged", f"cannot be unpacked ({error}). Download the archive again.")

    def _write(self, name: str, size: int, stream: IO[bytes]) -> None:
        target = self.folder / name
        partial = target.with_name(".part-" + hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16])
        try:
            if target.is_file() and target.stat().st_size == size:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as out:
                shutil.copyfileobj(stream, out, _CHUNK)
            if partial.stat().st_size != size:
                raise EOFError(f"unexpected end of {name}")
            partial.replace(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            self._refuse(name, "name_clash", f"has the name of a folder, or a file as its folder ({error.strerror}).")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self._refuse(name[:80], "long_name", "has a name too long for this file system.")
        finally:
            with suppress(OSError):
                partial.unlink()

    def _check_room(self, total: int, members: int) -> None:
        if total > self.limits.total_bytes:
            raise _Bomb(f"would unpack to {total / 1e9:.1f} GB; the limit is {self.limits.total_bytes / 1e9:.1f} GB.")
        if members > self.limits.members:
            raise _Bomb(f"has {members} members; the limit is {self.limits.members}.")

    def _check_growth(self, written: int, read: int) -> None:
        if written > self.limits.total_bytes:
            raise _Bomb(f"unpacks to over {self.limits.total_bytes / 1e9:.1f} GB.")
        if is_bomb(written, read, self.limits.ratio):
            raise _Bomb(f"unpacks to over {self.limits.ratio:g} times its size.")

    def _refuse(self, name: str, reason: str, message: str) -> None:
        label = f"{self.archive.name}: {name}" if name else self.archive.name
        self.set_aside.append(SetAside(label, reason, f"{label} {message}"))


class _Bomb(Exception):
    """An archive exceeds its limits."""


def _is_damage(error: Exception) -> bool:
    """Return whether an error comes from damaged bytes, not from the disk; zipfile seeks to forged offsets (EINVAL)."""
    return isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.errno == errno.EINVAL)


def _name_fault(name: str) -> tuple[str, str] | None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "absolute_path", "has an absolute path. An archive may only write into its own folder."
    if ".." in parts or "\\" in name or "\0" in name or not name.strip("./"):
        return (
            "path_traversal",
            "has a path that leads out of its folder. An archive may only write into its own folder.",
        )
    return None


def _zip_fault(member: zipfile.ZipInfo, kind: int, limits: ArchiveLimits) -> tuple[str, str] | None:
    if kind == stat.S_IFLNK:
        return "symlink", "is a symbolic link. Put the file itself into the archive."
    if kind not in (0, stat.S_IFREG):
        return "special_file", "is neither a file nor a folder."
    if member.flag_bits & 1:
        return "encrypted", "is encrypted. Unpack it with its password first."
    if is_bomb(member.file_size, member.compress_size, limits.ratio):
        return "bomb", f"would unpack to {member.file_size / 1e6:.0f} MB, over {limits.ratio:g} times its size."
    return None


def _tar_fault(member: tarfile.TarInfo) -> tuple[str, str] | None:
    if member.issym():
        return "symlink", "is a symbolic link. Put the file itself into the archive."
    if member.islnk():
        return "hardlink", "is a hard link. Put the file itself into the archive."
    if not member.isreg() or member.issparse():
        return "special_file", "is neither a plain file nor a folder."
    return None
