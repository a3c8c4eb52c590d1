"""Write files whole or not at all, so that a half-written one is never read."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bimcvr.errors import UserError, system_problem

# what flock answers where the file system has no locks: Lustre without `-o flock`, NFS without its lock service
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it if the block ends without an error.

    The temporary name keeps the suffixes of `path`, since several libraries choose the format by them.

    Args:
        path: the file to write; its folder is made if it does not exist.

    Raises:
        OSError: the disk is full, a right is missing and the like; its `filename` is `path`.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix="".join(path.suffixes[-2:])[-20:], dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        # writes of a stream name no file, and nobody knows the temporary one
        if error.errno is not None and (error.filename is None or "/.writing-" in os.fsdecode(error.filename)):
            error.filename, error.filename2 = str(path), None
        raise
    except RuntimeError as error:
        # torch.save replaces a stream's error by one of its own
        if not isinstance(error.__context__, OSError) or error.__context__.errno is None:
            raise
        raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def force_to_disk(path: Path) -> None:
    """Have the system write a file or folder to the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_writable(folder: Path, option: str) -> None:
    """Refuse a folder that cannot be written to, before the work whose result is to be written there.

    Args:
        folder: made if it does not exist.
        option: the option that names another folder.

    Raises:
        UserError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(prefix=".writing-", dir=folder) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        error.filename, error.filename2 = str(folder), None
        raise UserError(f"{system_problem(error)} The option {option} names another folder.") from error


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin work whose files the disk has no room for.

    Args:
        folder: where the files will lie; it exists.
        needed: bytes.
        what: the files, for the message.

    Raises:
        UserError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"The disk of {folder} has {_size(free)} free, and {what} need {_size(needed)}. Free some space, or name a"
            " folder on another disk; then run the same command again."
        )


@contextlib.contextmanager
def only_one(lock: Path, in_use: str) -> Iterator[None]:
    """Hold a lock that only one process can have; the kernel releases it when the process ends, however it ends.

    Args:
        lock: the lock file; made if it does not exist.
        in_use: the message of the error if another process holds the lock.

    Raises:
        UserError: another process holds it, or the file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(in_use) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise UserError(
                f"The file system of {lock.parent} has no locks ({error.strerror}), without which two processes could"
                " write there at once. Take a folder on another disk."
            ) from error
        yield


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def require_whole_gzip(path: Path, length: int) -> None:
    """Refuse a gzip file that its writer cut short without a word, as ITK does on a full disk.

    Args:
        path: a file of one gzip member.
        length: of its content in bytes.

    Raises:
        OSError: the file is shorter (ENOSPC).
    """
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 4))
        written = int.from_bytes(stream.read(), "little")
    if written != length % 2**32:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
