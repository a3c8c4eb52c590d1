"""Safe unpacking of zip and tar shards that resumes after an interruption.

Nothing is written outside the target folder, and damaged members are set aside. A member is written under a temporary
name and renamed once it is complete and its checksum is right, so every file under its own name is complete and the
next run continues after it. A small record beside the folder says whether everything was unpacked.
"""

import errno
import fcntl
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bimcvr.atomic_files import write_json
from bimcvr.curation.archives.extractor import ArchiveExtractor, ArchiveLimits
from bimcvr.curation.study import SetAside
from bimcvr.errors import UserError

# what stays on disk once a shard is ingested. all: unpacked files and archives; archives: the archives only; nothing:
# neither
Keep = Literal["all", "archives", "nothing"]
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
SUFFIXES = (".zip", *TAR_SUFFIXES)
# version of the record's layout
_VERSION = 2


@dataclass(frozen=True)
class UnpackedArchive:
    """An archive that was unpacked.

    Attributes:
        folder: the folder with its members, under their own paths.
        set_aside: the members, or the whole archive, that could not be unpacked.
        passed_over: the number of members that were not wanted, by suffix.
    """

    folder: Path
    set_aside: tuple[SetAside, ...]
    passed_over: Counter[str]


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive that `unpack` can read, by its name."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(
    archive: Path,
    folder: Path,
    limits: ArchiveLimits | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
    sha1: str = "",
) -> UnpackedArchive:
    """Unpack an archive, or continue where an earlier call was interrupted; returns at once if everything is unpacked.

    The checksum of a zip member is verified as it is written, that of a gzipped tar at its end. Members with absolute
    paths or paths that lead out of the folder, links, devices, encrypted and damaged members are set aside; the others
    are unpacked. Hidden members (`.…`, `__MACOSX`) are only counted. Of several copies in a tar the last is taken.

    Args:
        archive: a zip or tar file.
        folder: the target folder, created if necessary; used by this archive only.
        limits: how large it may become.
        wanted: which members to write, by their path in the archive; the others are counted.
        sha1: the expected checksum of the archive, if it is known.

    Raises:
        UserError: the disk is full.
    """
    with _locked(folder):
        return _unpack(archive, folder, limits or ArchiveLimits(), wanted, sha1)


def _unpack(
    archive: Path, folder: Path, limits: ArchiveLimits, wanted: Callable[[str], bool], sha1: str
) -> UnpackedArchive:
    record = folder.with_name(folder.name + ".done.json")
    identity = [_VERSION, archive.stat().st_size, archive.stat().st_mtime_ns]
    earlier = _read_record(record, identity)
    if earlier is None and folder.exists():
        shutil.rmtree(folder)
    if earlier and earlier["done"] and folder.is_dir():
        return UnpackedArchive(
            folder, tuple(SetAside(**item) for item in earlier["set_aside"]), Counter(earlier["passed_over"])
        )
    if sha1 and sha1_of(archive) != sha1:
        fault = SetAside(
            archive.name, "checksum", f"{archive} does not have the sha1 of its checksum list. Download it again."
        )
        return UnpackedArchive(folder, (fault,), Counter())
    folder.mkdir(parents=True, exist_ok=True)
    write_json(record, {"identity": identity, "done": False})
    extractor = ArchiveExtractor(archive, folder.resolve(), limits, wanted)
    try:
        extractor.extract_all()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"The disk is full: {archive} needs more space in {folder}. Free some, or let the source delete each "
            "shard once it is ingested (keep); then run the same command again."
        ) from error
    write_json(
        record,
        {
            "identity": identity,
            "done": True,
            "set_aside": [asdict(item) for item in extractor.set_aside],
            "passed_over": dict(extractor.passed_over),
        },
    )
    return UnpackedArchive(folder, tuple(extractor.set_aside), extractor.passed_over)


def delete_ingested(archive: Path, folder: Path, keep: Keep, complete: bool) -> None:
    """Delete what need not stay on disk of an archive that has been ingested.

    Args:
        archive: the archive.
        folder: the folder it was unpacked to.
        keep: what stays on disk.
        complete: whether every volume in it was ingested; otherwise the archive is never deleted.
    """
    if keep != "all":
        discard(folder)
    if keep == "nothing" and complete:
        archive.unlink()


def discard(folder: Path) -> None:
    """Delete what `unpack` wrote."""
    folder.with_name(folder.name + ".done.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sha1_sums(listing: Path) -> dict[str, str]:
    """Read a file in the format of `sha1sum`.

    Args:
        listing: the file.

    Returns:
        The checksum by file name, without folders.
    """
    lines = (line.split(maxsplit=1) for line in listing.read_text(encoding="utf-8", errors="replace").splitlines())
    return {Path(parts[1].strip().lstrip("*")).name: parts[0].lower() for parts in lines if len(parts) == 2}


def sha1_of(path: Path) -> str:
    """Return the hexadecimal sha1 of a file, the format of the archives' checksum lists."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()


def listed_members(listing: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of each plain file of a `tar tvf` listing."""
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
        # mode, owner/group, size, date, time, path
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[0].startswith("-") and parts[2].isdigit():
            yield parts[5], int(parts[2])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time unpack into a folder: jobs that share a work folder all unpack the tables."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_record(path: Path, identity: list[int]) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("identity") == identity else None
