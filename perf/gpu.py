"""Everything that only a GPU can say, in one command: is it right there, and how fast is it?

    make gpu                                  # or: python perf/gpu.py [--out runs/gpu] [--minutes 7]
    python perf/gpu.py --toy true             # seconds on a CPU, to see that it works

Correctness first, then the speed of ResNet-50 and ViT-Base at 96 × 224 × 224 on a cohort of its own making. Each part
runs within its time in a process that a fault in one of them cannot hurt, and is written down when it is done: the same
command goes on where it was stopped, and tries what failed once more. Writes gpu.json and gpu.md. Exit codes: 0 all
done and held, 1 a part failed or did not hold, 3 the time was up before all were done.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import write_json, write_text
from bimcvr.processes.signals import STOPPED, Terminated, terminated_by_signal
from bimcvr.provenance import git_commit

PART_SECONDS = 240
"""After which a part is given up."""

START_SECONDS = 300
"""After which a process that has begun no part is given up."""


def main(words: list[str]) -> int:
    """Run what is left to do, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of gpu.json and gpu.md")
    parser.add_argument("--toy", type=lambda word: word == "true", default=False, help="tiny shapes on the CPU")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which no further part begins")
    parser.add_argument("--only", default="", help="only parts whose names contain this")
    parser.add_argument("--scratch", type=Path, default=None, help="folder of the synthetic cohort (5 GB)")
    parser.add_argument("--worker_until", type=float, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.worker_until is not None:
        from gpu_worker import run_parts

        return run_parts(options.out, options.scratch, options.toy, options.only, options.worker_until)
    try:
        with terminated_by_signal(), tempfile.TemporaryDirectory(prefix="bimcvr-gpu-") as folder:
            options.scratch = options.scratch or Path(folder)
            return run_all(options)
    except Terminated:
        return STOPPED[signal.SIGTERM]


def run_all(options: argparse.Namespace) -> int:
    """Start workers until all parts are done or failed, or the time is up.

    Args:
        options: of the command line.
    """
    from gpu_tables import as_markdown

    state = Ledger(options.out / "gpu.json", {"toy": options.toy, "commit": git_commit()})
    state.forget_failures()
    ends = time.time() + 60 * options.minutes
    while not state.complete and time.time() < ends:
        before = dict(state.content["parts"])
        worker = subprocess.Popen(_words_of_worker(options, ends), start_new_session=True)
        try:
            reason = _watch(worker, state)
        finally:
            _end(worker)
        state.settle(reason)
        if state.content["parts"] == before and not state.complete:
            print(f"The worker process {reason or 'did nothing'} before its first part.", file=sys.stderr)
            return 1
    write_text(options.out / "gpu.md", as_markdown(state.content))
    print((options.out / "gpu.md").read_text(encoding="utf-8"))
    print(f"written: {options.out}/gpu.json, {options.out}/gpu.md")
    if state.wrong:
        return 1
    return 0 if state.complete else 3


class Ledger:
    """The file of what is done: part → state (`running`, `done`, `failed`), seconds, facts or reason.

    Args:
        path: gpu.json.
        about: what all parts have in common; parts of another commit or size are dropped.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and (known := json.loads(path.read_text(encoding="utf-8")))["about"] == about:
            self.content: dict[str, Any] = known
        else:
            self.content = {"about": about, "names": [], "parts": {}}
            write_json(path, self.content)

    def read(self) -> dict[str, Any]:
        """Read what a worker has written meanwhile; returns the parts."""
        self.content = json.loads(self.path.read_text(encoding="utf-8"))
        parts: dict[str, Any] = self.content["parts"]
        return parts

    def record(self, name: str, **entry: Any) -> None:
        """Write down the state of a part."""
        self.content["parts"][name] = entry
        write_json(self.path, self.content)

    def forget_failures(self) -> None:
        """Let parts that failed, did not hold or were interrupted be run once more."""
        parts = self.content["parts"]
        self.content["parts"] = {name: part for name, part in parts.items() if part["state"] == "done" and _held(part)}
        write_json(self.path, self.content)

    def settle(self, reason: str) -> None:
        """Mark the part that a worker was in when it ended as failed."""
        for name in [name for name, part in self.read().items() if part["state"] == "running"]:
            self.record(name, state="failed", reason=reason or "the time was up")

    @property
    def complete(self) -> bool:
        """Whether every part is done or failed; no worker has said yet which there are where there are none."""
        names = self.content["names"]
        return bool(names) and all(name in self.content["parts"] for name in names)

    @property
    def wrong(self) -> list[str]:
        """The parts that failed, or whose figures are not what they should be."""
        return [name for name, part in self.content["parts"].items() if part["state"] == "failed" or not _held(part)]


def _held(part: dict[str, Any]) -> bool:
    return bool(part.get("facts", {}).get("held", True))


def _words_of_worker(options: argparse.Namespace, ends: float) -> list[str]:
    toy = "true" if options.toy else "false"
    words = [
        sys.executable,
        __file__,
        "--worker_until",
        str(ends),
        "--out",
        str(options.out),
        "--scratch",
        str(options.scratch),
    ]
    return [*words, "--toy", toy, "--only", options.only]


def _watch(worker: "subprocess.Popen[bytes]", state: Ledger) -> str:
    """Wait for a worker's end; returns why it did not end by itself, or empty."""
    name, since = "", time.time()
    while worker.poll() is None:
        time.sleep(0.3)
        running = next((name for name, part in state.read().items() if part["state"] == "running"), "")
        if running != name:
            name, since = running, time.time()
        limit = PART_SECONDS if name else START_SECONDS
        if time.time() - since > limit:
            return f"took more than {limit} s"
    return f"ended with exit code {worker.returncode}" if worker.returncode else ""


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """End a worker and the processes that it started."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
