"""What an unlucky machine does: files may not grow, rights are missing, the file system has no locks."""

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

_VERSION, _OVERRIDES = 0x20080522, 0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: a write fails as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Give a file or folder these permission bits, which hold for root, too."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        with _bound_by_rights():
            yield
    finally:
        path.chmod(before)


@contextlib.contextmanager
def _bound_by_rights() -> Iterator[None]:
    if sys.platform != "linux" or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, data)
    held = data[0]
    try:
        data[0] = held & ~_OVERRIDES
        assert libc.capset(header, data) == 0
        yield
    finally:
        data[0] = held
        assert libc.capset(header, data) == 0
