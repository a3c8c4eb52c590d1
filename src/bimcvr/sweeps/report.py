"""A sweep's trials as a table for the terminal and as a CSV file."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import replacing, write_text
from bimcvr.errors import printable
from bimcvr.html.render import COLOURS, new_figure
from bimcvr.sweeps.config import Sweep

LEAST = 4
"""Fewer trials say nothing about which parameter matters."""


def describe(values: Mapping[str, Any]) -> str:
    """Return a trial's parameters in a line, each by the last part of its name where that is unique."""
    return ", ".join(
        f"{short}={_short(value)}" for short, value in zip(_short_names(list(values)), values.values(), strict=True)
    )


def write_table(path: Path, sweep: Sweep, trials: list[Any]) -> None:
    """Write all trials in their order: number, state, metric, seconds, every parameter, and why it failed.

    Args:
        path: The CSV file.
        sweep: The sweep of the trials.
        trials: Optuna's trials that ended by themselves.
    """
    names = [dimension.name for dimension in sweep.dimensions]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", sweep.metric, "seconds", *names, "why", "command"])
    for trial in sorted(trials, key=lambda trial: trial.user_attrs["place"]):
        about = trial.user_attrs
        state, value = ("failed", "") if trial.value is None else ("done", repr(trial.value))
        values = [about["values"].get(name, "") for name in names]
        writer.writerow(
            [about["place"], state, value, about["seconds"], *values, about.get("failed", ""), about["command"]]
        )
    write_text(path, text.getvalue())


def trials_rows(sweep: Sweep, trials: list[Any]) -> list[list[str]]:
    """Return the cells of a table of all trials, the heads first, then the best, the failed last.

    Args:
        sweep: The sweep of the trials.
        trials: Optuna's trials that ended by themselves.
    """
    names = [dimension.name for dimension in sweep.dimensions]
    rows = [["trial", sweep.metric, "seconds", *_short_names(names)]]
    sign = -1 if sweep.goal == "maximize" else 1
    for trial in sorted(
        trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0), trial.user_attrs["place"])
    ):
        about = trial.user_attrs
        result = "failed" if trial.value is None else f"{trial.value:.4g}"
        values = (_short(about["values"][name]) for name in names)
        rows.append([str(about["place"]), result, str(about["seconds"]), *values])
    return rows


def draw_importance(study: Any, sweep: Sweep, path: Path) -> dict[str, float]:
    """Draw how much each parameter decides the metric, by Optuna's fANOVA over the trials that ended well.

    Args:
        study: Optuna's study.
        sweep: The sweep of its trials.
        path: The PNG file.

    Returns:
        The importance of each parameter; nothing where there are too few trials or parameters to say so.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in done}) < LEAST or len(sweep.dimensions) < 2 or sweep.method == "grid":
        return {}
    found = dict(reversed(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)).items()))
    figure, axes = new_figure(6, 0.9 + 0.3 * len(found))
    axes.barh(_short_names(list(found)), list(found.values()), color=COLOURS[0])
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"importance for {sweep.metric} (fANOVA, {len(done)} trials)")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return found


def failures(trials: list[Any]) -> list[str]:
    """Return a line on each trial that failed, with the reason."""
    failed = (trial.user_attrs for trial in trials if trial.value is None)
    return [f"trial {about['place']} failed: {about.get('failed', '')}" for about in failed]


def _short_names(names: list[str]) -> list[str]:
    last = [name.rsplit(".", 1)[-1] for name in names]
    return [short if last.count(short) == 1 else name for short, name in zip(last, names, strict=True)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
