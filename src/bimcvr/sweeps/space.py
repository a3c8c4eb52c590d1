"""A sweep's parameters: what W&B documents, as something that Optuna samples and a function of the sample.

https://docs.wandb.ai/models/sweeps/sweep-config-keys#distribution-options-for-random-and-bayesian-search
"""

import bisect
import itertools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

from bimcvr.errors import UserError

KEYS = ("distribution", "value", "values", "probabilities", "min", "max", "mu", "sigma", "q")
_BOUNDED = (
    "uniform",
    "int_uniform",
    "q_uniform",
    "log_uniform",
    "q_log_uniform",
    "inv_log_uniform",
    "log_uniform_values",
    "q_log_uniform_values",
    "inv_log_uniform_values",
)
_NORMAL = ("normal", "q_normal", "log_normal", "q_log_normal")
KINDS = ("constant", "categorical", *_BOUNDED, *_NORMAL)
_UNIT = (1e-9, 1 - 1e-9)  # a quantile, short of the infinite ones


class Dimension(NamedTuple):
    """One parameter of a sweep.

    Attributes:
        name: dotted, as on the command line.
        low: least sample.
        high: largest sample.
        scale: `whole`, `linear` or `log`: how samples lie between them.
        value: from a sample to the parameter.
        grid: all values in the file's order, where they can be counted.
    """

    name: str
    low: float
    high: float
    scale: str
    value: Callable[[Any], Any]
    grid: tuple[Any, ...] | None


def read_dimension(name: str, spec: Any) -> Dimension:
    """Read one entry of `parameters`.

    Raises:
        UserError: it says something that W&B does not document, or that cannot be sampled.
    """
    if not isinstance(spec, dict):
        raise UserError(f"Parameter '{name}': it needs `value`, `values` or a distribution below it, not {spec!r}.")
    if "parameters" in spec:
        raise UserError(f"Parameter '{name}' is nested. Write flat dotted names, as on the command line: '{name}.…'.")
    unknown = [key for key in spec if key not in KEYS]
    if unknown:
        raise UserError(f"Parameter '{name}': W&B documents no key '{unknown[0]}' there, but {', '.join(KEYS)}.")
    kind = spec.get("distribution") or _inferred(name, spec)
    if kind not in KINDS:
        raise UserError(f"Parameter '{name}': there is no distribution '{kind}'. W&B documents {', '.join(KINDS)}.")
    if kind in ("constant", "categorical"):
        return _listed(name, spec, kind)
    return _normal(name, spec, kind) if kind in _NORMAL else _bounded(name, spec, kind)


def grid_points(dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """Return every combination of values, the last parameter changing fastest.

    Raises:
        UserError: a parameter has values that cannot be counted.
    """
    for dimension in dimensions:
        if dimension.grid is None:
            raise UserError(
                f"Parameter '{dimension.name}': method grid needs `value`, `values`, int_uniform or q_uniform."
            )
    lists = [dimension.grid or () for dimension in dimensions]
    return [
        dict(zip((dimension.name for dimension in dimensions), point, strict=True))
        for point in itertools.product(*lists)
    ]


def _inferred(name: str, spec: dict[str, Any]) -> str:
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "min" in spec and "max" in spec:
        return "int_uniform" if all(type(spec[key]) is int for key in ("min", "max")) else "uniform"
    raise UserError(
        f"Parameter '{name}' has neither `value` nor `values` nor `min` and `max`, and names no distribution."
    )


def _listed(name: str, spec: dict[str, Any], kind: str) -> Dimension:
    key = "value" if kind == "constant" else "values"
    options = [spec.get("value")] if kind == "constant" else spec.get("values")
    if key not in spec or not isinstance(options, list) or not options:
        raise UserError(f"Parameter '{name}': {kind} needs `{key}`.")
    if None in options:
        raise UserError(
            f"Parameter '{name}': W&B's agent passes a bare null as None, which no option takes. Write \"null\" in"
            " quotes."
        )
    weights = spec.get("probabilities")
    if weights is None:
        return Dimension(name, 0, len(options) - 1, "whole", options.__getitem__, tuple(options))
    if len(weights) != len(options) or abs(sum(weights) - 1) > 1e-6 or min(weights) < 0:
        raise UserError(
            f"Parameter '{name}': `probabilities` must be as many as `values`, none negative, and sum to 1."
        )
    sums = list(itertools.accumulate(weights))
    return Dimension(
        name, 0, 1, "linear", lambda at: options[min(bisect.bisect_left(sums, at), len(options) - 1)], tuple(options)
    )


def _bounded(name: str, spec: dict[str, Any], kind: str) -> Dimension:
    low, high, q = _number(name, spec, "min"), _number(name, spec, "max"), _step(name, spec)
    if not low <= high:
        raise UserError(f"Parameter '{name}': min {low} is above max {high}.")
    base = kind.removeprefix("q_")
    rounded = _rounding(q) if kind.startswith("q_") else float
    if base == "int_uniform":
        if any(type(spec[key]) is not int for key in ("min", "max")):
            raise UserError(f"Parameter '{name}': int_uniform needs whole numbers as min and max.")
        return Dimension(name, low, high, "whole", int, tuple(range(int(low), int(high) + 1)))
    if base in ("log_uniform_values", "inv_log_uniform_values"):  # log(1/X) is uniform exactly where log(X) is
        if low <= 0:
            raise UserError(f"Parameter '{name}': {kind} needs a min above 0, not {low}.")
        return Dimension(name, low, high, "log", rounded, None)
    if base == "log_uniform":
        return Dimension(name, low, high, "linear", lambda at: rounded(math.exp(at)), None)
    if base == "inv_log_uniform":
        return Dimension(name, low, high, "linear", lambda at: math.exp(-at), None)
    steps = range(round(low / q), round(high / q) + 1)
    return Dimension(
        name, low, high, "linear", rounded, tuple(rounded(step * q) for step in steps) if kind == "q_uniform" else None
    )


def _normal(name: str, spec: dict[str, Any], kind: str) -> Dimension:
    mu, sigma = _number(name, spec, "mu", 0.0), _number(name, spec, "sigma", 1.0)
    if sigma <= 0:
        raise UserError(f"Parameter '{name}': sigma must be above 0, not {sigma}.")
    normal, logarithm = NormalDist(mu, sigma), kind.endswith("log_normal")
    rounded = _rounding(_step(name, spec)) if kind.startswith("q_") else float

    def value(at: float) -> Any:
        drawn = normal.inv_cdf(at)
        return rounded(math.exp(drawn) if logarithm else drawn)

    return Dimension(name, *_UNIT, "linear", value, None)


def _rounding(q: float) -> Callable[[float], Any]:
    """Return W&B's rounding, round(X / q) · q: whole for a whole q."""
    if isinstance(q, int):
        return lambda at: round(at / q) * q
    return lambda at: round(round(at / q) * q, 12)


def _step(name: str, spec: dict[str, Any]) -> float:
    q = _number(name, spec, "q", 1)
    if q <= 0:
        raise UserError(f"Parameter '{name}': q must be above 0, not {q}.")
    return q


def _number(name: str, spec: dict[str, Any], key: str, default: float | None = None) -> float:
    value = spec.get(key, default)
    if isinstance(value, str):
        raise UserError(
            f"Parameter '{name}': {key} is {value!r}, which YAML reads as text. Write it with a point, as in 1.0e-5."
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"Parameter '{name}': {key} must be a number, not {value!r}.")
    return value
