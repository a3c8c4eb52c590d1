"""Parameters: every distribution that W&B documents means what its documentation says.

Anything else is refused by name.
"""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.errors import UserError
from bimcvr.sweeps.space import KINDS, grid_points, read_dimension

numbers = st.floats(0.01, 100)


def samples(spec: dict[str, Any], count: int = 400) -> list[Any]:
    """Values at equal steps of what Optuna samples."""
    dimension = read_dimension("x", spec)
    low, high = dimension.low, dimension.high
    if dimension.scale == "whole":
        return [dimension.value(at) for at in range(int(low), int(high) + 1)]
    steps = [step / (count - 1) for step in range(count)]
    if dimension.scale == "log":
        return [dimension.value(math.exp(math.log(low) + step * (math.log(high) - math.log(low)))) for step in steps]
    return [dimension.value(low + step * (high - low)) for step in steps]


@given(numbers, numbers)
def test_bounds_hold(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for kind in ("uniform", "log_uniform_values", "inv_log_uniform_values"):
        found = samples({"distribution": kind, "min": low, "max": high}, 20)
        assert min(found) >= low * (1 - 1e-12)
        assert max(found) <= high * (1 + 1e-12)


def test_logarithms_mean_what_the_documentation_says() -> None:
    assert statistics.median(
        samples({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2})
    ) == pytest.approx(1e-3, rel=0.02)
    found = samples({"distribution": "log_uniform", "min": -3, "max": 0})
    assert (min(found), max(found)) == (pytest.approx(math.exp(-3)), pytest.approx(1))
    found = samples({"distribution": "inv_log_uniform", "min": 0, "max": 3})
    assert (min(found), max(found)) == (pytest.approx(math.exp(-3)), pytest.approx(1))
    found = samples({"distribution": "log_normal", "mu": 1, "sigma": 0.5}, 2001)
    assert statistics.median(found) == pytest.approx(math.exp(1), rel=0.01)
    found = samples({"distribution": "normal", "mu": 5, "sigma": 2}, 20001)
    assert (statistics.mean(found), statistics.stdev(found)) == (pytest.approx(5, abs=0.01), pytest.approx(2, rel=0.02))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("q_")])
@pytest.mark.parametrize("q", [2, 0.25])
def test_quantised_values_are_multiples(kind: str, q: float) -> None:
    spec = (
        {"distribution": kind, "mu": 1, "sigma": 0.5, "q": q}
        if "normal" in kind
        else {"distribution": kind, "min": 1, "max": 4, "q": q}
    )
    found = samples(spec)
    assert len(set(found)) > 1
    assert all(value / q == round(value / q) and type(value) is type(q) for value in found)


def test_lists_keep_their_values_and_kinds() -> None:
    assert samples({"values": ["null", True, 3, 0.5, [1, 2]]}) == ["null", True, 3, 0.5, [1, 2]]
    assert samples({"value": 7}) == [7]
    found = samples({"values": ["a", "b", "c"], "probabilities": [0.5, 0.25, 0.25]}, 4000)
    assert [found.count(name) / 4000 for name in "abc"] == pytest.approx([0.5, 0.25, 0.25], abs=0.01)


def test_a_missing_distribution_is_inferred_as_wandb_does() -> None:
    assert samples({"min": 2, "max": 4}) == [2, 3, 4]
    assert isinstance(samples({"min": 2.0, "max": 4})[1], float)


def test_a_grid_is_every_combination_in_the_file_s_order() -> None:
    dimensions = [
        read_dimension(name, spec)
        for name, spec in {
            "a": {"values": [2, 1]},
            "b": {"value": "x"},
            "c": {"min": 1, "max": 3},
            "d": {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.25},
        }.items()
    ]
    points = grid_points(dimensions)
    assert len(points) == 2 * 1 * 3 * 3
    assert [tuple(point.values()) for point in points[:4]] == [
        (2, "x", 1, 0.0),
        (2, "x", 1, 0.25),
        (2, "x", 1, 0.5),
        (2, "x", 2, 0.0),
    ]
    with pytest.raises(UserError, match="'rate': method grid"):
        grid_points([read_dimension("rate", {"min": 0.1, "max": 0.2})])


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"distribution": "beta", "min": 0, "max": 1}, "no distribution 'beta'"),
        ({"values": [1], "step": 2}, "no key 'step'"),
        ({"parameters": {"lr": {"value": 1}}}, "nested"),
        ({"min": "1e-5", "max": 1}, "YAML reads as text"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "above 0"),
        ({"min": 2.0, "max": 1.0}, "above max"),
        ({"values": [1, None]}, "in quotes"),
        ({"values": []}, "needs `values`"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "sum to 1"),
        ({"distribution": "normal", "sigma": -1}, "sigma must be above 0"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "whole numbers"),
        ({"mu": 1}, "names no distribution"),
        (3, "needs `value`"),
    ],
)
def test_anything_else_is_refused_by_name(spec: Any, named: str) -> None:
    with pytest.raises(UserError, match=r"Parameter 'model\.rate'") as refused:
        read_dimension("model.rate", spec)
    assert named in str(refused.value)
