"""A sweep on one machine, without a server: Optuna proposes, an SQLite file remembers, child processes train.

Kept below the sweep's folder: `study.db`, `trials.csv`, and `trials/NNN` with each trial's log and run. Killed at any
moment, the same command goes on: what was running is marked failed and run again, from its last epoch.
"""

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import only_one
from bimcvr.errors import UserError
from bimcvr.sweeps.command import expand
from bimcvr.sweeps.config import Sweep
from bimcvr.sweeps.report import describe, print_table, write_table
from bimcvr.sweeps.space import Dimension, grid_points
from bimcvr.sweeps.trial import best_value, last_words, run_trial

GIVE_UP = 3
"""Failures one after the other, with no success before, that end a sweep."""


def run_locally(sweep: Sweep, folder: Path, trials: int | None, seed: int) -> int:
    """Run a sweep's trials one after the other until there are enough.

    Args:
        sweep: what the file says.
        folder: the sweep's own; what is there already is gone on with.
        trials: how many in all; by default the file's run_cap, and for grid all points.
        seed: of the proposals.

    Returns:
        0, or 3 where some trials failed.

    Raises:
        UserError: the folder belongs to another sweep or is in use, no number of trials is given, or every trial fails.
    """
    points = grid_points(sweep.dimensions) if sweep.method == "grid" else None
    count = trials or sweep.run_cap or (len(points) if points else 0)
    if not count:
        raise UserError(
            f"Method {sweep.method} never ends by itself: say how many trials, with --trials or run_cap in the file."
        )
    count = min(count, len(points)) if points else count
    expand(sweep.command, sweep.program, {})  # a command that cannot be filled in is refused before anything begins
    if sweep.early_terminate:
        print("early_terminate is W&B's: here every trial runs to its end.")
    with only_one(folder / ".lock", f"Another process runs the sweep in {folder}. Wait for it, or give another --out."):
        study = _open(sweep, folder)
        _take_up(study)
        _run(sweep, folder, study, points, count, seed)
        own = _own_trials(study)
        print_table(sweep, own)
        print(f"\nall trials: {folder / 'trials.csv'}")
        best = study.best_trial if any(trial.value is not None for trial in own) else None
        if best is None:
            return 3
        print(f"best: trial {best.user_attrs['place']}, {sweep.metric} {best.value:.4g}\n{best.user_attrs['command']}")
    return 3 if any(trial.value is None for trial in own) else 0


def _run(sweep: Sweep, folder: Path, study: Any, points: list[dict[str, Any]] | None, count: int, seed: int) -> None:
    took: list[float] = []
    while len(own := _own_trials(study)) < count:
        if _reached(sweep, own):
            print(f"The target {sweep.metric} {sweep.target} is reached: no further trial.")
            return
        if len(own) >= GIVE_UP and all(trial.value is None for trial in own):
            last = _trial_folder(folder, own[-1].user_attrs["place"])
            raise UserError(
                f"The first {len(own)} trials all failed. The log {last / 'log.txt'} ends with:\n{last_words(last)}"
            )
        trial, values = _propose(sweep, study, points, seed)
        number = trial.user_attrs["place"]
        command = expand(sweep.command, sweep.program, values, sys.executable)
        trial.set_user_attr("values", values)
        trial.set_user_attr("command", shlex.join(command))
        print(f"trial {number} ({len(own) + 1} of {count}): {describe(values)}", flush=True)
        began = time.perf_counter()
        code = run_trial(command, _trial_folder(folder, number))
        took.append(time.perf_counter() - began)
        _finish(sweep, folder, study, trial, code, took[-1])
        write_table(folder / "trials.csv", sweep, _own_trials(study))
        _say(sweep, study, trial, (count - len(own) - 1) * sum(took) / len(took))


def _propose(sweep: Sweep, study: Any, points: list[dict[str, Any]] | None, seed: int) -> tuple[Any, dict[str, Any]]:
    """Ask for the next trial. The same history gives the same proposal.

    Whether or not the sweep was cut off in between.
    """
    from optuna.samplers import RandomSampler, TPESampler
    from optuna.trial import TrialState

    place = len({trial.user_attrs["place"] for trial in study.get_trials(deepcopy=False) if trial.params})
    # made anew for each trial: a sampler that begins again after a kill would repeat its first proposals
    study.sampler = (TPESampler if sweep.method == "bayes" else RandomSampler)(seed=seed + place)
    if points is not None and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial({"point": place})
    trial = study.ask()
    if "place" not in trial.user_attrs:
        trial.set_user_attr("place", place)
    if points is not None:
        return trial, points[trial.suggest_int("point", 0, len(points) - 1)]
    return trial, {dimension.name: dimension.value(_sample(trial, dimension)) for dimension in sweep.dimensions}


def _sample(trial: Any, dimension: Dimension) -> Any:
    if dimension.scale == "whole":
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high))
    return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.scale == "log")


def _finish(sweep: Sweep, folder: Path, study: Any, trial: Any, code: int, seconds: float) -> None:
    from optuna.trial import TrialState

    own = _trial_folder(folder, trial.user_attrs["place"])
    value = best_value(own, sweep.metric, sweep.goal) if code == 0 else None
    trial.set_user_attr("seconds", round(seconds, 1))
    if value is None:
        why = f"exit code {code}" if code > 0 else f"signal {-code}" if code else f"its CSV log has no {sweep.metric}"
        trial.set_user_attr("failed", why)
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def _say(sweep: Sweep, study: Any, trial: Any, left: float) -> None:
    own = _own_trials(study)
    done = next(one for one in own if one.number == trial.number)
    said = f"failed ({done.user_attrs['failed']})" if done.value is None else f"{sweep.metric} {done.value:.4g}"
    any_done = any(one.value is not None for one in own)
    best = f"best {study.best_value:.4g} (trial {study.best_trial.user_attrs['place']})" if any_done else "none"
    hours, minutes, seconds = int(left // 3600), int(left // 60 % 60), int(left % 60)
    print(
        f"  {said} in {done.user_attrs['seconds']} s; so far {best}; about {hours}:{minutes:02d}:{seconds:02d} left",
        flush=True,
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
            f"{folder} holds trials of another sweep, or of an older form of this one. Give another --out, or"
            " delete it."
        )
    study.set_user_attr("sweep", identity)
    return study


def _take_up(study: Any) -> None:
    """Mark trials that a killed sweep left running as failed, and put them back to the front."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        known = any(other.user_attrs.get("again") == trial.number for other in study.get_trials(deepcopy=False))
        # one without parameters was killed before it got any: it is proposed anew
        if trial.params and not known and "failed" not in trial.user_attrs:
            print(f"trial {trial.user_attrs['place']} was cut off: it runs again.")
            study.enqueue_trial(trial.params, user_attrs={"place": trial.user_attrs["place"], "again": trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def _own_trials(study: Any) -> list[Any]:
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
