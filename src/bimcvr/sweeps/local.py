"""A sweep on one machine, without a server: Optuna proposes, an SQLite file stores, child processes train.

The sweep's folder holds `study.db`, `trials.csv`, and `trials/NNN` with each trial's log and run. Killed at any moment,
the same command resumes: what was running is marked failed and run again, from its last epoch.
"""

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from bimcvr.atomic_files import only_one
from bimcvr.errors import UserError
from bimcvr.sweeps.command import expand
from bimcvr.sweeps.config import Sweep
from bimcvr.sweeps.report import describe, draw_importance, write_table
from bimcvr.sweeps.space import Dimension, grid_points
from bimcvr.sweeps.trial import best_value, describe_end, last_words, run_trial

GIVE_UP = 3
"""Failures one after the other, with no success before, that end a sweep."""

_CONSOLE = Console(soft_wrap=True, markup=False, highlight=False)


class SweepResult(NamedTuple):
    """What a sweep came to.

    Attributes:
        trials: Optuna's trials that ended by themselves, well or badly.
        best: The trial with the best metric, None if all failed.
    """

    trials: list[Any]
    best: Any

    @property
    def failed(self) -> bool:
        """Whether a trial failed."""
        return any(trial.value is None for trial in self.trials)


def run_locally(sweep: Sweep, folder: Path, trials: int | None, seed: int) -> SweepResult:
    """Run a sweep's trials one after the other until there are enough; progress goes to the terminal.

    Args:
        sweep: The sweep's file.
        folder: The sweep's folder; trials that are there already count.
        trials: How many in all; by default the file's run_cap, and for grid all points.
        seed: Of the proposals.

    Raises:
        UserError: The folder belongs to another sweep or is in use, no number of trials is given, or every trial fails.
    """
    points = grid_points(sweep.dimensions) if sweep.method == "grid" else None
    count = trials or sweep.run_cap or (len(points) if points else 0)
    if not count:
        raise UserError(
            f"Method {sweep.method} never ends by itself: say how many trials, with --trials or run_cap in the file."
        )
    count = min(count, len(points)) if points else count
    expand(sweep.command, sweep.program, {})  # a command that cannot be expanded is refused before anything begins
    if sweep.early_terminate:
        _CONSOLE.print("early_terminate is W&B's: here every trial runs to its end.")
    with only_one(folder / ".lock", f"Another process runs the sweep in {folder}. Wait for it, or give another --out."):
        with _telling_database_errors(folder / "study.db"):
            study = _open(sweep, folder)
            _requeue_interrupted(study)
            _run(sweep, folder, study, points, count, seed)
            ended = _ended_trials(study)
            draw_importance(study, sweep, folder / "importance.png")
            return SweepResult(ended, study.best_trial if any(trial.value is not None for trial in ended) else None)


@contextlib.contextmanager
def _telling_database_errors(path: Path) -> Iterator[None]:
    """Replace errors of the trials' database by one message that names its file."""
    import sqlite3

    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        cause = next((own for own in _causes(error) if isinstance(own, sqlite3.Error)), error)
        raise UserError(
            f"The trials' database {path} cannot be used ({' '.join(str(cause).split())[:200]}): the disk is full, a"
            " right is missing, or the file is damaged. Mend that and run the same command again, or give another"
            " --out."
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _run(sweep: Sweep, folder: Path, study: Any, points: list[dict[str, Any]] | None, count: int, seed: int) -> None:
    took: list[float] = []
    while len(ended := _ended_trials(study)) < count:
        if _reached(sweep, ended):
            _CONSOLE.print(f"The target {sweep.metric} {sweep.target} is reached: no further trial.")
            return
        if len(ended) >= GIVE_UP and all(trial.value is None for trial in ended):
            last = _trial_folder(folder, ended[-1].user_attrs["place"])
            raise UserError(
                f"The first {len(ended)} trials all failed. The log {last / 'log.txt'} ends with:\n{last_words(last)}"
            )
        trial, values = _propose(sweep, study, points, seed)
        number = trial.user_attrs["place"]
        command = expand(sweep.command, sweep.program, values, sys.executable)
        trial.set_user_attr("values", values)
        trial.set_user_attr("command", shlex.join(command))
        _CONSOLE.print(f"trial {number} ({len(ended) + 1} of {count}): {describe(values)}")
        began = time.perf_counter()
        code = run_trial(command, _trial_folder(folder, number))
        took.append(time.perf_counter() - began)
        _finish(sweep, folder, study, trial, code, took[-1])
        write_table(folder / "trials.csv", sweep, _ended_trials(study))
        _report_progress(sweep, study, trial, (count - len(ended) - 1) * sum(took) / len(took))


def _propose(sweep: Sweep, study: Any, points: list[dict[str, Any]] | None, seed: int) -> tuple[Any, dict[str, Any]]:
    """Ask for the next trial; the same history gives the same proposal, interrupted or not."""
    from optuna.samplers import RandomSampler, TPESampler
    from optuna.trial import TrialState

    known = study.get_trials(deepcopy=False)
    number = len({trial.user_attrs["place"] for trial in known if trial.params})
    # a new sampler for each trial: one that restarts after a kill would repeat its first proposals
    study.sampler = (TPESampler if sweep.method == "bayes" else RandomSampler)(seed=seed + number)
    if points is not None and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial({"point": number})
    trial = study.ask()
    if "place" not in trial.user_attrs:
        trial.set_user_attr("place", number)
    if points is not None:
        return trial, points[trial.suggest_int("point", 0, len(points) - 1)]
    return trial, {dimension.name: dimension.value(_sample(trial, dimension)) for dimension in sweep.dimensions}


def _sample(trial: Any, dimension: Dimension) -> Any:
    if dimension.scale == "whole":
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high))
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.scale == "log")


def _finish(sweep: Sweep, folder: Path, study: Any, trial: Any, code: int, seconds: float) -> None:
    from optuna.trial import TrialState

    value = (
        best_value(_trial_folder(folder, trial.user_attrs["place"]), sweep.metric, sweep.goal) if code == 0 else None
    )
    trial.set_user_attr("seconds", round(seconds, 1))
    if value is None:
        trial.set_user_attr("failed", describe_end(code) if code else f"its CSV log has no {sweep.metric}")
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def _report_progress(sweep: Sweep, study: Any, trial: Any, left: float) -> None:
    ended = _ended_trials(study)
    done = next(other for other in ended if other.number == trial.number)
    outcome = f"failed ({done.user_attrs['failed']})" if done.value is None else f"{sweep.metric} {done.value:.4g}"
    any_done = any(other.value is not None for other in ended)
    best = f"best {study.best_value:.4g} (trial {study.best_trial.user_attrs['place']})" if any_done else "none"
    hours, minutes, seconds = int(left // 3600), int(left // 60 % 60), int(left % 60)
    _CONSOLE.print(
        f"  {outcome} in {done.user_attrs['seconds']} s; so far {best}; about {hours}:{minutes:02d}:{seconds:02d} left"
    )


def _open(sweep: Sweep, folder: Path) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{(folder / 'study.db').resolve()}",
        study_name="sweep",
        direction=sweep.goal,
        load_if_exists=True,
    )
    identity = json.dumps(sweep.identity(), sort_keys=True, default=str)
    if study.user_attrs.get("sweep", identity) != identity:
        raise UserError(
            f"{folder} holds trials of another sweep, or of an earlier version of this one. Give another --out, or"
            " delete it."
        )
    study.set_user_attr("sweep", identity)
    return study


def _requeue_interrupted(study: Any) -> None:
    """Mark trials that a killed sweep left running as failed, and put them back to the front."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        requeued = any(other.user_attrs.get("again") == trial.number for other in study.get_trials(deepcopy=False))
        # one without parameters was killed before it got any: it is proposed again
        if trial.params and not requeued and "failed" not in trial.user_attrs:
            _CONSOLE.print(f"trial {trial.user_attrs['place']} was interrupted: it runs again.")
            study.enqueue_trial(trial.params, user_attrs={"place": trial.user_attrs["place"], "again": trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def _ended_trials(study: Any) -> list[Any]:
    """Return the trials that ended by themselves, well or badly."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [trial for trial in ended if trial.value is not None or "failed" in trial.user_attrs]


def _reached(sweep: Sweep, trials: list[Any]) -> bool:
    values = [trial.value for trial in trials if trial.value is not None]
    if sweep.target is None or not values:
        return False
    return bool(max(values) >= sweep.target if sweep.goal == "maximize" else min(values) <= sweep.target)


def _trial_folder(folder: Path, number: int) -> Path:
    return folder / "trials" / f"{number:03d}"
