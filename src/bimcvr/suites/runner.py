"""Running a suite: each run in its own process, several side by side; finished runs are not repeated."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import write_json
from bimcvr.suites.progress import SuiteProgress
from bimcvr.suites.run_process import DONE, FAILED, NOT_RUN, PRELOAD, run_one
from bimcvr.suites.runs import Run

Record = dict[str, Any]


@dataclass
class BenchmarkFolder:
    """The layout of a benchmark's folder.

    Attributes:
        folder: The folder itself.
    """

    folder: Path

    @property
    def runs(self) -> Path:
        """The folder of the run folders."""
        return self.folder / "runs"

    def record(self, run: Run) -> Path:
        """The file that says how a run ended."""
        return self.folder / "records" / f"{run.name}.json"

    def log(self, run: Run) -> Path:
        """The file that receives a run's output."""
        return self.folder / "logs" / f"{run.name}.txt"

    def result(self, run: Run, record: Record) -> Path | None:
        """The result of a run, None if it has none."""
        path = self.runs / run.experiment / str(record.get("folder")) / "result.json"
        return path if record.get("status") == DONE and path.is_file() else None


@dataclass
class _RowState:
    """How far one row is: its trials first, then, with the best of them, its other seeds."""

    trials: list[list[Run]]
    waiting: list[Run] = field(default_factory=list)
    running: int = 0
    started: int = 0
    chosen: int | None = None

    def left(self) -> list[str]:
        """Return the row's name, once for each run that is left."""
        seeds = len(self.trials[0]) - 1 if self.chosen is None else 0
        return [self.trials[0][0].row] * (len(self.waiting) + self.running + seeds)


def run_all(rows: Sequence[list[list[Run]]], places: BenchmarkFolder, jobs: int) -> dict[Run, Record]:
    """Run what is missing, and return how every run ended.

    A run with a successful record and its result is not repeated; a failed one is. All trials of a row run with seed 0;
    the one with the best score on `val` continues with the other seeds. A failure affects only its own row.

    Args:
        rows: For each row its runs by trial and seed.
        places: The benchmark's folder.
        jobs: How many runs go side by side.
    """
    for folder in ("records", "logs"):
        (places.folder / folder).mkdir(parents=True, exist_ok=True)
    records: dict[Run, Record] = {}
    progress = [_RowState(trials, waiting=[of[0] for of in trials]) for trials in rows]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    active: dict[ForkServerProcess, tuple[Run, _RowState, float]] = {}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with SuiteProgress(jobs) as clock, _ending(active):
        while True:
            for row in progress:
                _take_known(row, places, records)
            while len(active) < jobs and (waiting := [row for row in progress if row.waiting]):
                # one run of each row first: rows that cannot run fail early
                row = min(waiting, key=lambda row: row.started)
                run = row.waiting.pop(0)
                row.running, row.started = row.running + 1, row.started + 1
                active[_start(context, run, places, threads)] = (run, row, time.monotonic())
            clock.show([name for row in progress for name in row.left()], [str(run) for run, *_ in active.values()])
            if not active:
                return records
            for process in _ended(active):
                run, row, began = active.pop(process)
                row.running -= 1
                records[run] = _record_of(process, run, places)
                if records[run]["status"].startswith(NOT_RUN):
                    row.waiting.clear()  # another learning rate does not bring weights or packages
                clock.note(run, records[run], time.monotonic() - began)


@contextlib.contextmanager
def _ending(active: Mapping[ForkServerProcess, Any]) -> Iterator[None]:
    """End the processes that still run when the block is left: Python itself would wait for them."""
    try:
        yield
    finally:
        for process in active:
            process.kill()


def finished(run: Run, places: BenchmarkFolder) -> Record | None:
    """Return the record of a run that succeeded and whose result still exists, else None."""
    path = places.record(run)
    if not path.is_file():
        return None
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record if places.result(run, record) else None


def best_trial(trials: Sequence[list[Run]], records: Mapping[Run, Record]) -> int | None:
    """Return the trial with the highest score on `val` at seed 0, the first of equals; None if none succeeded."""
    done = {trial: records[of[0]] for trial, of in enumerate(trials) if records.get(of[0], {}).get("status") == DONE}
    scores = {
        trial: float("-inf") if record["val_score"] is None else record["val_score"] for trial, record in done.items()
    }
    return max(scores, key=lambda trial: scores[trial]) if scores else None


def _take_known(row: _RowState, places: BenchmarkFolder, records: dict[Run, Record]) -> None:
    """Take over earlier successes, and choose the trial as soon as all have ended."""
    _take(row, places, records)
    if row.chosen is None and not row.waiting and not row.running:
        best = best_trial(row.trials, records)
        row.chosen = -1 if best is None else best
        row.waiting = [] if best is None else list(row.trials[best][1:])
        _take(row, places, records)


def _take(row: _RowState, places: BenchmarkFolder, records: dict[Run, Record]) -> None:
    known = {run: record for run in row.waiting if (record := finished(run, places))}
    records.update(known)
    row.waiting = [run for run in row.waiting if run not in known]


def _start(context: Any, run: Run, places: BenchmarkFolder, threads: int) -> ForkServerProcess:
    places.record(run).unlink(missing_ok=True)
    trained, experiment = run.learning_rate is not None, places.runs / run.experiment
    arguments = (run.words, trained, experiment, run.seed, places.record(run), places.log(run), threads)
    process: ForkServerProcess = context.Process(target=run_one, args=arguments, name=run.name)
    process.start()
    return process


def _ended(active: Mapping[ForkServerProcess, Any]) -> list[ForkServerProcess]:
    ready = connection.wait([process.sentinel for process in active])
    return [process for process in active if process.sentinel in ready]


def _record_of(process: ForkServerProcess, run: Run, places: BenchmarkFolder) -> Record:
    process.join()
    path = places.record(run)
    if not path.is_file():
        why = ": killed, perhaps for memory" if process.exitcode == -signal.SIGKILL else ""
        reason = f"its process ended with code {process.exitcode}{why}"
        write_json(path, {"status": FAILED, "reason": f"{reason} (see {places.log(run)})"})
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record
