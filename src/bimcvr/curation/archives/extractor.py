"""Extraction of a zip or tar archive, member by member, under the rules of safe unpacking."""

import errno
import hashlib
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from isal import igzip
from isal.igzip_lib import IsalError

from bimcvr.curation.archives.forward_stream import ForwardStream
from bimcvr.curation.archives.member_names import is_hidden, member_path, name_fault
from bimcvr.curation.archives.tar_stream import decompressed
from bimcvr.curation.archives.zip_directory import ZIP_DAMAGE, UnreadableZip, member_fault, member_name, open_zip
from bimcvr.curation.study import SetAside
from bimcvr.data.reading.file_checks import other_kind
from bimcvr.decompression_bombs import RATIO, is_bomb

_CHUNK = 1 << 20
# kinds of files that a tar can be packed as
_TAR_PACKINGS = ("a gzip file", "a bzip2 file", "an xz file")
# what zipfile, tarfile and the decompressors raise over damaged bytes; isal declares its classes as instances
_DAMAGE: Any = (*ZIP_DAMAGE, tarfile.TarError, LookupError, igzip.BadGzipFile, IsalError)


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
        except UnreadableZip as fault:
            self._refuse("", fault.reason, str(fault))
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
        with open_zip(self.archive) as packed:
            members = packed.infolist()
            if not members:
                self._refuse("", "bad_zip", "has no members. Download it again.")
            self._check_room(sum(member.file_size for member in members), len(members))
            for member in members:
                name = member_path(member_name(member))
                if member.is_dir() or self._passes_over(name):
                    continue
                if fault := member_fault(member, self.limits.ratio) or self._repeated(name):
                    self._refuse(name, *fault)
                else:
                    self._count(name)
                    with self._setting_damage_aside(name), packed.open(member) as stream:
                        self._write(name, member.file_size, stream)

    def _extract_tar(self) -> None:
        with self.archive.open("rb") as raw:
            kind = other_kind(head := raw.read(512))
            if not head or kind not in ("", "a tar", *_TAR_PACKINGS):
                what = f"is not a tar but {kind}" if kind else "is empty"
                self._refuse("", "bad_tar", f"{what}. Download it again, or unpack it yourself.")
                return
            raw.seek(0)
            forward = ForwardStream(decompressed(raw), lambda written: self._check_growth(written, raw.tell()))
            with closing(tarfile.open(fileobj=forward, mode="r:")) as packed:  # type: ignore[call-overload]
                members = 0
                for member in packed:
                    members += 1
                    self._extract_tar_member(packed, member)
                if forward.rest_is_data(packed.offset):
                    problem = (
                        "has more data after its last readable member: it is damaged, or several tars in one file."
                    )
                    self._refuse("", "damaged", f"{problem} Download it again, or unpack it with `tar -i`.")
                elif not members:
                    self._refuse("", "bad_tar", "has no members. Download it again.")

    def _extract_tar_member(self, packed: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = member_path(member.name)
        if member.isdir() or self._passes_over(name):
            return
        fault = _tar_fault(member)
        if fault:
            self._refuse(name, *fault)
            if name not in self._seen:
                return
        if name in self._seen:
            # `tar -u` and `tar -r` append a newer copy, which replaces the earlier one
            self.passed_over["superseded"] += 1
            (self.folder / name).unlink(missing_ok=True)
        if fault:
            return
        self._count(name)
        stream = packed.extractfile(member)
        if stream is not None:
            self._write(name, member.size, stream)

    def _passes_over(self, name: str) -> bool:
        """Return whether not to write a member: it is counted, or set aside for its path."""
        if fault := name_fault(name):
            self._refuse(name, *fault)
            return True
        if is_hidden(name):
            self.passed_over["hidden"] += 1
            return True
        if not self.wanted(name):
            self.passed_over["".join(PurePosixPath(name).suffixes[-1:])] += 1
            return True
        return False

    def _repeated(self, name: str) -> tuple[str, str] | None:
        return ("duplicate_member", "appears more than once; the first was taken.") if name in self._seen else None

    def _count(self, name: str) -> None:
        self._seen.add(name)
        if len(self._seen) > self.limits.members:
            raise _Bomb(f"has over {self.limits.members} members.")

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
    """Return whether an error comes from damaged bytes, not from the disk.

    zipfile seeks to forged offsets (EINVAL), and bz2 raises an OSError without a number.
    """
    return isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.errno in (None, errno.EINVAL))


def _tar_fault(member: tarfile.TarInfo) -> tuple[str, str] | None:
    if member.issym():
        return "symlink", "is a symbolic link. Put the file itself into the archive."
    if member.islnk():
        return "hardlink", "is a hard link. Put the file itself into the archive."
    if not member.isreg() or member.issparse():
        return "special_file", "is neither a plain file nor a folder."
    return None
