"""P@K, AP and AUROC of tied orders against an average over every order of the ties."""

from fractions import Fraction
from itertools import pairwise, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.metrics.ranking.tie_blocks import Blocks, ordered_blocks, random_order, resampled_blocks

ITEMS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6)


def every_order(items: list[tuple[int, bool]]) -> list[list[bool]]:
    """The relevance of the items in each order in which no score rises."""
    return [
        [items[i][1] for i in order]
        for order in permutations(range(len(items)))
        if all(items[i][0] >= items[j][0] for i, j in pairwise(order))
    ]


def slow_precision(order: list[bool], k: int) -> Fraction:
    return Fraction(sum(order[:k]), min(k, len(order)))


def slow_average_precision(order: list[bool], k: int) -> Fraction:
    gained = sum((Fraction(sum(order[: i + 1]), i + 1) for i in range(min(k, len(order))) if order[i]), Fraction(0))
    return gained / min(k, sum(order))


def slow_auroc(items: list[tuple[int, bool]]) -> Fraction:
    pairs = [(a, b) for a, good in items for b, other in items if good and not other]
    return Fraction(sum(2 if a > b else 1 if a == b else 0 for a, b in pairs), 2 * len(pairs))


def ordered(items: list[tuple[int, bool]]) -> Blocks:
    score = torch.tensor([[float(score) for score, _ in items]], dtype=torch.float64) / 7
    return ordered_blocks(score, torch.tensor([[good for _, good in items]]))


@settings(max_examples=200, deadline=None)
@given(ITEMS)
def test_equals_the_mean_over_all_orders(items: list[tuple[int, bool]]) -> None:
    orders, found = every_order(items), ordered(items)
    for k in range(1, len(items) + 2):
        mean = sum((slow_precision(order, k) for order in orders), Fraction(0)) / len(orders)
        assert found.precision(k).item() == pytest.approx(float(mean), abs=1e-12)
        if any(good for _, good in items):
            mean = sum((slow_average_precision(order, k) for order in orders), Fraction(0)) / len(orders)
            assert found.average_precision(k).item() == pytest.approx(float(mean), abs=1e-12)
    relevant = sum(good for _, good in items)
    if relevant:
        mean = sum((slow_average_precision(order, 99) for order in orders), Fraction(0)) / len(orders)
        assert found.average_precision().item() == pytest.approx(float(mean), abs=1e-12)
    if 0 < relevant < len(items):
        assert found.auroc().item() == pytest.approx(float(slow_auroc(items)), abs=1e-12)
    else:
        assert found.auroc().isnan().item()


@settings(max_examples=100, deadline=None)
@given(ITEMS, st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_a_resample_is_the_order_of_its_copies(items: list[tuple[int, bool]], times: list[int]) -> None:
    """Copies tie with each other, whatever else they tie with."""
    copies = [item for item, count in zip(items, times, strict=False) for _ in range(count)]
    if not copies:
        return
    score = torch.tensor([float(score) for score, _ in items], dtype=torch.float64)
    drawn = resampled_blocks(score, torch.tensor([good for _, good in items]), torch.tensor([times[: len(items)]]))
    whole = ordered(copies)
    # copies of one item tie also where other items do not: as blocks of their own they give the same expectation
    assert drawn.precision(2).item() == pytest.approx(whole.precision(2).item(), abs=1e-12)
    assert drawn.average_precision().item() == pytest.approx(whole.average_precision().item(), abs=1e-12, nan_ok=True)
    assert drawn.auroc().item() == pytest.approx(whole.auroc().item(), abs=1e-12, nan_ok=True)


def test_graded_relevance_and_absent_items() -> None:
    """Scores 3, 2, 2, 1 with gains 1, .5, 0, .25; the first is left out: (.25 + .25) / 2 of the two tied ones."""
    score, gain = torch.tensor([[3.0, 2, 2, 1]], dtype=torch.float64), torch.tensor([[1, 0.5, 0, 0.25]])
    assert ordered_blocks(score, gain).precision(2).item() == pytest.approx((1 + 0.25) / 2)
    there = torch.tensor([[False, True, True, True]])
    assert ordered_blocks(score, gain, there).precision(2).item() == pytest.approx((0.5 + 0) / 2)
    assert ordered_blocks(score, gain, there).precision(3).item() == pytest.approx(0.75 / 3)


def test_a_random_order_has_the_prevalence_and_half_the_pairs() -> None:
    chance = random_order(torch.tensor([40]), torch.tensor([10]))
    assert chance.precision(7).item() == pytest.approx(0.25)
    assert chance.auroc().item() == pytest.approx(0.5)
    random = torch.Generator().manual_seed(0)
    score = torch.rand(4000, 40, generator=random, dtype=torch.float64)
    relevant = (torch.arange(40) < 10).expand(4000, 40)
    drawn = ordered_blocks(score, relevant)
    for k in (5, None):
        simulated = drawn.average_precision(k)
        assert chance.average_precision(k).item() == pytest.approx(
            simulated.mean().item(), abs=4 * simulated.std().item() / 4000**0.5
        )


def test_a_tie_ends_at_one_millionth() -> None:
    score = torch.tensor([[0.5, 0.5 - 0.9e-6, 0.5 - 3e-6]], dtype=torch.float64)
    assert ordered_blocks(score, torch.tensor([[0, 1, 1]])).precision(1).item() == pytest.approx(0.5)
    assert ordered_blocks(score, torch.tensor([[0, 0, 1]])).precision(2).item() == 0.0
