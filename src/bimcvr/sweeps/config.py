"""A sweep's file, in W&B's format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from bimcvr.errors import UserError
from bimcvr.presets import read_yaml
from bimcvr.sweeps.space import Dimension, read_dimension

METHODS = ("grid", "random", "bayes")
KEYS = (
    "program",
    "entity",
    "project",
    "description",
    "name",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "command",
    "run_cap",
)
DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file says.

    Attributes:
        name: of the sweep; the file's own by default.
        method: grid, random or bayes.
        metric: the logged figure that is optimised.
        goal: minimize or maximize.
        target: a value at which no further trial begins.
        dimensions: the parameters.
        command: with W&B's macros.
        program: what `${program}` stands for.
        run_cap: how many trials at most.
        early_terminate: whether the file asks W&B to stop bad trials early.
        content: the file as it is read, which W&B gets.
    """

    name: str
    method: str
    metric: str
    goal: Literal["minimize", "maximize"]
    target: float | None
    dimensions: list[Dimension]
    command: tuple[str, ...]
    program: str
    run_cap: int | None
    early_terminate: bool
    content: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """Return what must stay the same for trials to be comparable."""
        return {key: self.content.get(key) for key in ("method", "metric", "parameters", "command", "program")}


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file.

    Raises:
        UserError: it is no such file, or says something that W&B does not document.
    """
    if not path.is_file():
        raise UserError(f"There is no sweep file at {path}.")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is empty or no mapping. A sweep needs method, metric, parameters and command.")
    try:
        return _read(content, path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(content: dict[str, Any], stem: str) -> Sweep:
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        raise UserError(f"W&B documents no key '{unknown[0]}' of a sweep, but {', '.join(KEYS)}.")
    if content.get("method") not in METHODS:
        raise UserError(f"`method` is {content.get('method')!r}; W&B documents {', '.join(METHODS)}.")
    metric = content.get("metric")
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise UserError("`metric` needs a `name`, such as val/score, and a `goal`.")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UserError(f"metric.goal is {goal!r}, not minimize or maximize.")
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError("`parameters` names nothing to try.")
    command = content.get("command") or list(DEFAULT_COMMAND)
    if not isinstance(command, list):
        raise UserError(
            '`command` must be a list of words, such as ["${env}", "${interpreter}", -m, bimcvr, fit, "${args}"].'
        )
    run_cap = content.get("run_cap")
    if run_cap is not None and (type(run_cap) is not int or run_cap < 1):
        raise UserError(f"run_cap is {run_cap!r}, not a number of trials.")
    return Sweep(
        str(content.get("name", stem)),
        content["method"],
        metric["name"],
        cast(Literal["minimize", "maximize"], goal),
        None if metric.get("target") is None else float(metric["target"]),
        [read_dimension(str(name), spec) for name, spec in parameters.items()],
        tuple(str(word) for word in command),
        str(content.get("program", "")),
        run_cap,
        bool(content.get("early_terminate")),
        content,
    )
