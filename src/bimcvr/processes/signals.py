"""SIGTERM unwinds the stack as Ctrl-C does: temporary files are removed, workers ended, the exit code is 143."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""The exit codes of a process that a signal stopped, as shells count them."""

_PATIENCE = 5.0  # seconds; what stops a process often kills it ten seconds later


class Terminated(BaseException):
    """SIGTERM was received; like KeyboardInterrupt it is no Exception, so that no handler of errors catches it."""


@contextlib.contextmanager
def terminated_by_signal() -> Iterator[None]:
    """Raise Terminated when SIGTERM arrives inside the block, unless the process has a handler of its own."""
    before = signal.getsignal(signal.SIGTERM)
    with _watched() if before is signal.SIG_DFL and _in_main_thread() else contextlib.nullcontext():
        if before is signal.SIG_DFL:
            raise_on_sigterm()
        try:
            yield
        finally:
            if before is signal.SIG_DFL and _in_main_thread():
                signal.signal(signal.SIGTERM, before)


def raise_on_sigterm() -> None:
    """Raise Terminated in the main thread when SIGTERM arrives; other threads cannot ask for it."""
    if _in_main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Learn of SIGTERM where the main thread cannot: within a call of a library that waits for another process."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), name="sigterm", daemon=True).start()
    try:
        yield
    finally:
        if signal.set_wakeup_fd(before) != writing:
            signal.set_wakeup_fd(-1)  # another loop's, which has ended
        os.close(writing)  # ends the thread


def _watch(reading: int) -> None:
    with open(reading, "rb", buffering=0) as stream:
        while number := stream.read(1):
            # a server's own handler ends it in its own time
            if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) in (_terminate, signal.SIG_DFL):
                _end_soon()


def _end_soon() -> None:
    ending = threading.Timer(_PATIENCE, os._exit, (STOPPED[signal.SIGTERM],))
    ending.daemon = True
    ending.start()


def _terminate(number: int, _: FrameType | None) -> None:
    """Raise Terminated, and make sure that the process ends even where that is swallowed or waits for something."""
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    _end_soon()
    raise Terminated
