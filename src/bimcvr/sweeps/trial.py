"""One trial: a child process with its own folder, and the figure that its CSV log reaches."""

import csv
import ctypes
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_PATIENCE = 10.0  # seconds that an interrupted trial has to end


def run_trial(command: list[str], folder: Path) -> int:
    """Run a trial's command with its run folder below `folder` and its output in `folder/log.txt`.

    An interrupted trial resumes from its last epoch, as `fit --checkpoint last` does. On Linux it dies with this
    process.

    Args:
        command: the expanded command.
        folder: the trial's own.

    Returns:
        The exit code, negative for a signal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [*command, f"--runs={folder}"]
    if any(folder.glob("*/*/checkpoints/last.ckpt")):
        words.append("--checkpoint=last")
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent
        )
        try:
            return child.wait()
        except BaseException:  # Ctrl-C reaches the child too, SIGTERM this process alone: let it end by itself
            child.terminate()
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise


def best_value(folder: Path, metric: str, goal: Literal["minimize", "maximize"]) -> float | None:
    """Return the best value that a trial's CSV logs hold of a metric, or None if they hold none.

    Args:
        folder: the trial's.
        metric: the column's name.
        goal: which value is the best.
    """
    values = [value for path in folder.glob("*/*/logs/version_*/metrics.csv") for value in _column(path, metric)]
    return (max if goal == "maximize" else min)(values, default=None)


def describe_end(code: int) -> str:
    """Return how a trial ended, by its exit code: negative, or as shells count it above 128, for a signal."""
    number = -code if code < 0 else code - 128
    try:
        return f"stopped by {signal.Signals(number).name}"
    except ValueError:
        return f"exit code {code}"


def last_words(folder: Path, lines: int = 4) -> str:
    """Return the end of what a trial printed."""
    text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.strip().splitlines()[-lines:])


def _column(path: Path, metric: str) -> Iterator[float]:
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            cell = row.get(metric)
            if cell and math.isfinite(float(cell)):
                yield float(cell)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() == 1:  # it was gone before
            os._exit(1)
