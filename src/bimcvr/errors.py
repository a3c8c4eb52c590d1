"""The exceptions that a user is meant to read."""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

_AGAIN = "then run the same command again."
_PROBLEMS = {
    errno.ENOSPC: ("the disk is full", f"Free some space, {_AGAIN}"),
    errno.EDQUOT: ("the quota of this disk is used up", f"Free some space or ask for more, {_AGAIN}"),
    errno.EFBIG: ("the file has reached the largest size that is allowed here (`ulimit -f`)", f"Raise it, {_AGAIN}"),
    errno.EROFS: ("its file system is read-only", "Name a path that can be written to."),
    errno.EMFILE: ("too many files are open", f"Raise the limit with `ulimit -n 4096`, {_AGAIN}"),
    errno.ENFILE: ("too many files are open on this machine", f"End other programs, {_AGAIN}"),
    errno.EIO: ("the disk reports an input/output error", "Look at its state, or take another disk."),
    errno.ESTALE: ("the network file system has lost it", f"Mount it anew, {_AGAIN}"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "Give a shorter one."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Correct the path."),
    errno.EISDIR: ("it is a folder, not a file", "Give the path of a file."),
    errno.ENOENT: ("there is no such file or folder", "Correct the path."),
    errno.ENOLCK: ("its file system has no locks", "Take a folder on another disk."),
    errno.ENOSYS: ("its file system lacks a function that is needed", "Take a folder on another disk."),
    errno.ENOMEM: ("there is not enough memory", f"End other programs, {_AGAIN}"),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_ADDRESS = re.compile(r"(?: object)?(?: at)? ?\(?\b0x[0-9a-fA-F]{6,}\b\)?")


class UserError(Exception):
    """Something the user can mend: the message names the culprit and the remedy.

    The command line prints it as one paragraph, without a traceback, and exits with 1.
    """


class WeightsAbsent(UserError):
    """A published model that is not on this machine and cannot be fetched; a benchmark prints its row as not run."""


def listed(faults: Sequence[str]) -> str:
    """Return what is wrong as one message: a fault as it is, several as a list.

    Args:
        faults: one message each, at least one; of the same message twice one is told.
    """
    different = list(dict.fromkeys(faults))
    if len(different) == 1:
        return different[0]
    return "\n".join([f"{len(different)} things are wrong:", *(f"- {fault}" for fault in different)])


def system_problem(error: OSError) -> str:
    """Return what the operating system refused, for a user: the path, what is wrong with it and what to do.

    Args:
        error: with its `errno`; the path is its `filename`.
    """
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | Path) else ""
    if error.errno in (errno.EACCES, errno.EPERM):
        wrong, remedy = _denied(Path(path)) if path else ("permission denied", "Ask its owner for the right.")
    else:
        wrong, remedy = _PROBLEMS.get(error.errno or 0, (error.strerror or str(error), "Correct it, and try again."))
    return f"{path}: {wrong}. {remedy}" if path else f"{wrong[:1].upper()}{wrong[1:]}. {remedy}"


def printable(text: str) -> str:
    """Return a text without control characters but line ends and tabs: no escape sequence reaches a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def without_addresses(text: str) -> str:
    """Return a library's message without addresses in memory, which are others each time and tell about the process."""
    return _ADDRESS.sub("", text)


def _denied(path: Path) -> tuple[str, str]:
    """Say which right is missing, and where."""
    blocking = next(
        (folder for folder in reversed(path.parents) if folder.is_dir() and not _may(folder, os.X_OK)), None
    )
    if blocking:
        return f"permission denied: the folder {blocking} may not be entered", "Ask its owner for the right."
    if os.path.lexists(path) and not _may(path, os.R_OK):
        return "permission denied: it may not be read", "Ask its owner for the right (`chmod +r`)."
    return "permission denied: it may not be written", "Ask its owner for the right, or name another path."


def _may(path: Path, right: int) -> bool:
    return os.access(path, right, effective_ids=os.access in os.supports_effective_ids)
