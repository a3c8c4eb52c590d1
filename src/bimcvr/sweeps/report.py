"""A sweep's trials as a table for the terminal and as a CSV file."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bimcvr.atomic_files import write_text
from bimcvr.errors import printable
from bimcvr.sweeps.config import Sweep

if TYPE_CHECKING:
    from rich.table import Table


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


def trials_table(sweep: Sweep, trials: list[Any]) -> "Table":
    """Return all trials as a table, the best first and the failed last."""
    from rich.table import Table

    names = [dimension.name for dimension in sweep.dimensions]
    table = Table(title=f"{sweep.name} ({sweep.method}, {sweep.goal} {sweep.metric})")
    for head in ("trial", sweep.metric, "seconds", *_short_names(names)):
        table.add_column(head, justify="right")
    sign = -1 if sweep.goal == "maximize" else 1
    for trial in sorted(
        trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0), trial.user_attrs["place"])
    ):
        about = trial.user_attrs
        result = about.get("failed") if trial.value is None else f"{trial.value:.4g}"
        table.add_row(
            str(about["place"]), result, str(about["seconds"]), *(_short(about["values"][name]) for name in names)
        )
    return table


def _short_names(names: list[str]) -> list[str]:
    last = [name.rsplit(".", 1)[-1] for name in names]
    return [short if last.count(short) == 1 else name for short, name in zip(last, names, strict=True)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
