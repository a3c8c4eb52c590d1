"""Safe unpacking of zip and tar shards.

Nothing leaves its folder, what is damaged is set aside, an interruption is resumed.

A member is written under another name and renamed once it is whole and its checksum is right; so what bears its own
name is complete, and the next run goes on behind it. A small record beside the folder says whether all is done.
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
from bimcvr.curation.archives.extractor import ArchiveWriter, Limits
from bimcvr.curation.study import SetAside
from bimcvr.errors import UserError

__all__ = [
    "Keep",
    "Limits",
    "Unpacked",
    "discard",
    "is_archive",
    "listed_members",
    "release",
    "sha1_of",
    "sha1_sums",
    "unpack",
]

# all: unpacked files and archives stay; archives: unpacked files go once they are taken in; nothing: the archives go
# too
Keep = Literal["all", "archives", "nothing"]
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar")
SUFFIXES = (".zip", *TAR_SUFFIXES)
# the record's layout
_VERSION = 1


@dataclass(frozen=True)
class Unpacked:
    """A shard on disk.

    Attributes:
        folder: where its members lie, under their own paths.
        aside: members that could not be taken, with reasons; or the whole archive.
        passed_over: how many members were not wanted, by suffix.
    """

    folder: Path
    aside: tuple[SetAside, ...]
    passed_over: Counter[str]


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that `unpack` knows."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(
    archive: Path,
    folder: Path,
    limits: Limits | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
    sha1: str = "",
) -> Unpacked:
    """Unpack an archive, or go on where an earlier call was interrupted; at once if it is done.

    The checksum of a zip member is verified as it is written, that of a gzipped tar at its end. Members that are
    absolute or climb out of the folder, links, devices, encrypted and damaged members are set aside, the others taken.

    Args:
        archive: a zip or tar file.
        folder: where to; made if need be. It is this archive's alone.
        limits: how large it may become.
        wanted: which members to write, by their path in the archive; the others are counted.
        sha1: what the archive's checksum ought to be, if that is known.

    Raises:
        UserError: the disk is full.
    """
    with _alone(folder):
        return _unpack(archive, folder, limits or Limits(), wanted, sha1)


def _unpack(archive: Path, folder: Path, limits: Limits, wanted: Callable[[str], bool], sha1: str) -> Unpacked:
    record = folder.with_name(folder.name + ".done.json")
    identity = [_VERSION, archive.stat().st_size, archive.stat().st_mtime_ns]
    found = _read_record(record, identity)
    if found is None and folder.exists():
        shutil.rmtree(folder)
    if found and found["done"] and folder.is_dir():
        return Unpacked(folder, tuple(SetAside(**item) for item in found["aside"]), Counter(found["passed_over"]))
    if sha1 and sha1_of(archive) != sha1:
        fault = SetAside(
            archive.name, "checksum", f"{archive} does not have the sha1 that its list states. Fetch it again."
        )
        return Unpacked(folder, (fault,), Counter())
    folder.mkdir(parents=True, exist_ok=True)
    write_json(record, {"identity": identity, "done": False})
    writer = ArchiveWriter(archive, folder.resolve(), limits, wanted)
    try:
        writer.write_all()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"The disk is full: {archive} needs more room in {folder}. Free some, or let the source delete each "
            "shard once it is taken in; then run the same command again."
        ) from error
    aside = [asdict(item) for item in writer.aside]
    write_json(record, {"identity": identity, "done": True, "aside": aside, "passed_over": dict(writer.passed_over)})
    return Unpacked(folder, tuple(writer.aside), writer.passed_over)


def release(archive: Path, folder: Path, keep: Keep, whole: bool) -> None:
    """Delete what is not to be kept of a shard that has been taken in.

    Args:
        archive: the shard.
        folder: where it was unpacked.
        keep: what stays on disk.
        whole: whether every volume in it was taken: else the archive stays in any case.
    """
    if keep != "all":
        discard(folder)
    if keep == "nothing" and whole:
        archive.unlink()


def discard(folder: Path) -> None:
    """Delete what `unpack` wrote."""
    folder.with_name(folder.name + ".done.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sha1_sums(listing: Path) -> dict[str, str]:
    """Read a file as `sha1sum` writes it.

    Returns:
        The checksum by file name, without its folder.
    """
    lines = (line.split(maxsplit=1) for line in listing.read_text(encoding="utf-8", errors="replace").splitlines())
    return {Path(parts[1].strip().lstrip("*")).name: parts[0].lower() for parts in lines if len(parts) == 2}


def sha1_of(path: Path) -> str:
    """Return the hexadecimal sha1 of a file, as the archives' own lists have it."""
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
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time unpack into a folder: jobs that share a work folder all want the tables."""
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
