"""Processes that end with the one that started them, also when that one is killed and can tell nobody."""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator

_LAUNCHER = "BIMCVR_LAUNCHER"  # host:pid


@contextlib.contextmanager
def children_end_with_this_process() -> Iterator[None]:
    """Let every `bimcvr` process that is started inside the block end with this one, whichever launcher is between.

    A launcher may be Lightning's for several devices, a W&B agent, or a shell script that a sweep's file names.
    """
    before = os.environ.get(_LAUNCHER)
    os.environ[_LAUNCHER] = _identity(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_LAUNCHER)
        if before is not None:
            os.environ[_LAUNCHER] = before


def end_with_launcher() -> None:
    """Let this process end with the `bimcvr` process that it was started by, if there is one on this machine."""
    host, _, pid = os.environ.get(_LAUNCHER, "").rpartition(":")
    if pid.isdigit() and _identity(int(pid)) == f"{host}:{pid}" and int(pid) != os.getpid():
        end_with(int(pid))


def end_with(pid: int) -> None:
    """Kill this process as soon as another has ended.

    Args:
        pid: the other process, on this machine.
    """
    threading.Thread(target=_end_after, args=(pid,), name="lifeline", daemon=True).start()


def _end_after(pid: int) -> None:
    _wait_for_end(pid)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_end(pid: int) -> None:
    if sys.platform == "linux":
        # also tells of a process that has ended and whose parent has not asked for its exit code yet
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            select.select([handle], [], [])
            return
    while _exists(pid):
        time.sleep(1)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _identity(pid: int) -> str:
    return f"{os.uname().nodename}:{pid}"
