"""Randomisation tests against full enumeration, paired intervals against a naive loop, Holm against its definition."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import patient_draws
from bimcvr.metrics.per_query import summarize
from bimcvr.metrics.significance import compare_methods, holm, randomisation_test

PATIENTS = ["a", "a", "b", "c", "d", "d", "d", "e"]


def method(ranks: list[float]) -> dict[str, Tensor]:
    rank = torch.tensor(ranks, dtype=torch.float64)
    return {"R@1": 100 * (rank == 1).double(), "MRR": 1 / rank, "MnR": rank}


ONE, OTHER = method([1, 2, 1, 3, 5, 1, 1, 2]), method([2, 2, 4, 1, 9, 8, 1, 6])


def test_p_values_approach_full_enumeration() -> None:
    """All 2⁵ ways in which five patients can swap."""
    names = sorted(set(PATIENTS))
    extreme = dict.fromkeys(summarize(ONE), 0)
    for swaps in product([False, True], repeat=len(names)):
        swapped = torch.tensor([swaps[names.index(patient)] for patient in PATIENTS])
        first = {name: torch.where(swapped, OTHER[name], ONE[name]) for name in ONE}
        second = {name: torch.where(swapped, ONE[name], OTHER[name]) for name in ONE}
        for name in extreme:
            observed, found = (summarize(x)[name] - summarize(y)[name] for x, y in ((ONE, OTHER), (first, second)))
            extreme[name] += abs(found) >= abs(observed) - 1e-9
    p = randomisation_test(ONE, OTHER, PATIENTS, seed=1, resamples=20_000)
    for name, count in extreme.items():
        assert p[name] == pytest.approx(count / 32, abs=0.015), name


def test_the_interval_of_a_difference_is_paired() -> None:
    found = compare_methods(ONE, OTHER, PATIENTS, seed=2, resamples=400)
    names = sorted(set(PATIENTS))
    differences: dict[str, list[float]] = {name: [] for name in found}
    for table in patient_draws(len(names), 2, 400):
        for times in table.tolist():
            rows = [
                row
                for name, count in zip(names, times, strict=True)
                for _ in range(count)
                for row, patient in enumerate(PATIENTS)
                if patient == name
            ]
            one, other = (summarize({name: values[rows] for name, values in of.items()}) for of in (ONE, OTHER))
            for name in differences:
                differences[name].append(one[name] - other[name])
    for name, of in found.items():
        assert of["difference"] == pytest.approx(summarize(ONE)[name] - summarize(OTHER)[name])
        assert of["interval"] == pytest.approx(np.quantile(differences[name], [0.025, 0.975]).tolist()), name


def test_a_method_does_not_differ_from_itself() -> None:
    for of in compare_methods(ONE, ONE, PATIENTS, resamples=100).values():
        assert of == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}


def test_p_values_are_uniform_where_nothing_differs() -> None:
    generator = np.random.default_rng(0)
    values = []
    for _ in range(200):
        one, other = (method(generator.integers(1, 50, size=40).astype(float).tolist()) for _ in range(2))
        values.append(randomisation_test(one, other, [str(i // 2) for i in range(40)], resamples=200)["MnR"])
    assert np.mean(np.array(values) <= 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_holm_steps_down_and_never_falls() -> None:
    assert holm({"x": 0.02, "y": 0.001, "z": 0.03, "w": 0.5}) == pytest.approx(
        {"x": 0.06, "y": 0.004, "z": 0.06, "w": 0.5}
    )
    assert holm({"x": 0.9, "y": 0.8}) == {"x": 1.0, "y": 1.0}
