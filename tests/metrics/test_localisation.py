"""The pointing game and the mass inside: a map that knows scores 100 %, one that knows nothing is at chance."""

import numpy as np
import pytest

from bimcvr.contracts import Located
from bimcvr.metrics.localisation import ALL, LARGE, chance_scores, localisation_metrics, region_scores

SHAPE = (8, 10, 12)


def regions(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A body, a finding in it with a soft edge, and the finding grown by a voxel."""
    rng = np.random.default_rng(seed)
    body = np.zeros(SHAPE, dtype=bool)
    body[1:7, 1:9, 2:11] = True
    inside, grown = np.zeros(SHAPE), np.zeros(SHAPE, dtype=bool)
    corner = rng.integers(2, 5, 3)
    box = tuple(slice(at, at + 2) for at in corner)
    inside[box] = 1
    inside[corner[0], corner[1], corner[2]] = 0.5
    grown[tuple(slice(at - 1, at + 3) for at in corner)] = True
    return body, inside, grown


@pytest.mark.parametrize("seed", range(3))
def test_a_map_that_is_the_finding_points_at_it_with_all_its_mass(seed: int) -> None:
    body, inside, grown = regions(seed)
    pointing, mass = region_scores((inside == 1).astype(np.float32), body, inside, grown)
    assert (pointing, mass) == (1, 1)
    elsewhere = np.where(grown, -1.0, 1.0)
    assert region_scores(elsewhere, body, inside, grown) == (0, 0)


@pytest.mark.parametrize("constant", [1.0, 0.0, -3.0, 1e-9])
def test_a_constant_map_is_at_chance(constant: float) -> None:
    body, inside, grown = regions(0)
    pointing, mass = region_scores(np.full(SHAPE, constant, dtype=np.float32), body, inside, grown)
    assert (pointing, mass) == pytest.approx(chance_scores(body, inside, grown))
    assert chance_scores(body, inside, grown)[1] == pytest.approx(7.5 / body.sum())
    # outside of the body nothing counts
    marked = np.full(SHAPE, constant, dtype=np.float32)
    marked[0] = 100
    assert region_scores(marked, body, inside, grown) == pytest.approx((pointing, mass))


def test_random_maps_are_at_chance_on_the_mean() -> None:
    body, inside, grown = regions(1)
    rng = np.random.default_rng(0)
    scores = np.array([region_scores(rng.normal(size=SHAPE), body, inside, grown) for _ in range(3000)])
    chance = chance_scores(body, inside, grown)
    assert scores.mean(0) == pytest.approx(chance, abs=0.02)
    assert 0.02 < chance[0] < 0.5


def test_figures_are_means_over_findings_with_intervals_over_patients() -> None:
    scores = np.array([[1, 0.2, 0.5, 0.4, 0.1, np.nan], [0, 0.2, 0.5, 0.2, 0.1, np.nan], [1, 0.4, 0, 0.6, 0.3, 0.3]])
    located = Located(
        ["a", "b", "a"], ["mass", "mass", "nodule"], scores, "tokens", (10.0, 9.0, 9.0), np.array([2, 1.9, 2.1])
    )
    family = localisation_metrics(located, ["p", "q", "p"], resamples=400)
    assert list(family.values) == [ALL, LARGE, "mass", "nodule"]
    assert family.values[LARGE]["pointing"] == 100
    assert family.values[LARGE]["chance_mass"] == pytest.approx(20)
    assert family.values["mass"] == pytest.approx(
        {"pointing": 50, "chance_pointing": 20, "other_pointing": 50, "mass": 30, "chance_mass": 10, "studies": 2}
    )
    assert family.values[ALL]["pointing"] == pytest.approx(200 / 3)
    assert family.values[ALL]["studies"] == 2
    assert family.values[ALL]["other_mass"] == pytest.approx(30)
    intervals = family.intervals()
    assert intervals["mass"]["pointing"] == [0, 100]
    assert intervals["nodule"]["pointing"] == [100, 100]
    small = Located(["a"], ["mass"], scores[:1], "tokens", (1.0, 1.0, 1.0), np.array([np.nan]))
    one = localisation_metrics(small, ["p"], resamples=10)
    assert list(one.values) == ["mass"]
