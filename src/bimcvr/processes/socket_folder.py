"""The folder of worker processes' sockets: a socket's address has room for some 100 bytes of path."""

import os
import tempfile
from multiprocessing import util

from bimcvr.errors import UserError

_LONGEST = 70
"""Bytes of a folder's path, within 103 on macOS and 107 on Linux; Python adds a folder and a file of 32 together."""
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - Python makes a private folder in it


def keep_socket_paths_short() -> None:
    """Let worker processes have their sockets in a short folder where the one for temporary files (TMPDIR) is too long.

    Raises:
        UserError: there is no such folder.
    """
    usual = tempfile.gettempdir()
    short = next((folder for folder in (usual, *_SHORT) if _has_room(folder)), None)
    if os.name != "posix" or short == usual:
        return
    if short is None:
        raise UserError(
            f"The folder for temporary files, {usual}, has too long a path for the sockets of worker processes. Set the"
            f" environment variable TMPDIR to one of at most {_LONGEST} bytes, or data.num_workers to 0."
        )
    before, tempfile.tempdir = tempfile.tempdir, short
    try:
        util.get_temp_dir()  # makes the folder, which this process and its workers keep
    finally:
        tempfile.tempdir = before


def _has_room(folder: str) -> bool:
    return len(os.fsencode(folder)) <= _LONGEST and os.access(folder, os.W_OK | os.X_OK)
