"""A server as a user starts it."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers.cli import environment


@dataclass(frozen=True)
class Running:
    """A server in a process of its own.

    Attributes:
        address: where it answers.
        pid: its process.
        log: what it has printed.
    """

    address: str
    pid: int
    log: Path


@contextmanager
def serving(folder: Path, log: Path, *words: str, verb: str = "serve") -> Iterator[Running]:
    """`python -m bimcvr serve`, or another verb that serves a page, on a free port."""
    command = [sys.executable, "-m", "bimcvr", verb, str(folder), "--port", "0", *words]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**environment(), "BIMCVR_TOKEN": ""}
        )
        try:
            until = time.monotonic() + 120
            while not (found := re.search(r"http://\S+:\d+/", log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield Running(found[0].replace("localhost", "127.0.0.1"), process.pid, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
