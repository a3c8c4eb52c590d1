"""Commands in processes of their own that are forks of one that has imported what they need.

A new process takes 5 s of a core to import Lightning, and a suite of tests starts many.
"""

import importlib.util
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

from helpers.cli import environment

PRELOAD = (
    "bimcvr.training.lightning_cli",
    "torchio",
    "bimcvr.search.ingest.vector_sources",
    "bimcvr.search.ingest.update",
    "pyarrow",
    "jsonargparse",
    "lance_namespace",
)
"""Importing these starts no threads: those would not survive a fork."""


def fork_server() -> ForkServerContext:
    """Return what starts processes in this way; one server serves all tests of a process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def _run(words: list[str], out: str, variables: dict[str, str], folder: Path | None) -> None:
    os.setsid()
    stream = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number in (1, 2):
        os.dup2(stream, number)
    if folder:
        os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    import torch

    from bimcvr.cli import main

    torch.set_num_threads(1)  # torch was imported before OMP_NUM_THREADS was set
    # by these Lightning starts the processes of further devices
    sys.argv = ["bimcvr", *words]
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("bimcvr.__main__")
    sys.exit(main(words))


class Forked:
    """A command in a session of its own.

    Args:
        words: the command line from the verb on.
        out: the file that its output is added to.
        variables: what its environment has beyond this process's.
        folder: its working folder; this process's by default.
    """

    def __init__(
        self, words: list[str], out: Path, variables: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> None:
        # a command in this process leaves where it ran, for processes that Lightning starts
        own = {name: value for name, value in environment().items() if name != "BIMCVR_RUN_FOLDER"}
        self._process = fork_server().Process(target=_run, args=(words, str(out), {**own, **(variables or {})}, folder))
        self._process.start()
        self.pid = self._process.pid or 0

    def wait(self, seconds: float = 300) -> int | None:
        """Return the exit code, None if it still runs after so many seconds."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """End it and what it started, by SIGKILL."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.join()


def run_ranks(count: int, words: list[str], out: Path) -> None:
    """Run a command in `count` processes that are started from outside, as a cluster's scheduler does.

    Args:
        count: how many processes.
        words: the command line of each.
        out: the file that their output is added to.

    Raises:
        AssertionError: one of them failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": str(count), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [Forked(words, out, {**world, "LOCAL_RANK": str(rank)}) for rank in range(count)]
    codes = [process.wait() for process in processes]
    assert codes == [0] * count, out.read_text()[-3000:]
