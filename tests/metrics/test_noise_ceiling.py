"""The noise ceiling against an oracle that scores every pair, and against what is known of BIMCV-R's defects."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.metrics.noise_ceiling import oracle_ranks
from bimcvr.metrics.per_query import rank_metrics
from bimcvr.metrics.ranking.ranks import Ranks


def slow(group: list[int], text: list[int], elsewhere: list[bool]) -> tuple[Ranks, Ranks]:
    """Count for each query who shares the top with its right answers."""
    directions = []
    for by_text in (True, False):
        rows = []
        for i in range(len(group)):
            right = [j for j in range(len(group)) if group[j] == group[i]]
            if elsewhere[i]:
                top = list(range(len(group)))
            else:
                top = [j for j in range(len(group)) if text[j] == text[i] and (not elsewhere[j] if by_text else True)]
            rows.append((0, len(set(top) - set(right)), len(set(top) & set(right))))
        directions.append(Ranks(*torch.tensor(rows).unbind(1)))
    return directions[0], directions[1]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(
            *(st.lists(of, min_size=n, max_size=n) for of in (st.integers(0, 3), st.integers(0, 3), st.booleans()))
        )
    )
)
def test_equals_the_slow_oracle(case: tuple[list[int], list[int], list[bool]]) -> None:
    group, text, elsewhere = case
    for found, expected in zip(
        oracle_ranks(torch.tensor(group), torch.tensor(text), torch.tensor(elsewhere)), slow(*case), strict=True
    ):
        for name in ("above", "tied_wrong", "tied_right"):
            assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_sound_rows_are_found_and_the_rest_is_chance() -> None:
    """BIMCV-R's test split by the counts known of it.

    25.2 % of the reports belong elsewhere, so R@1 ≤ 74.9 %, MnR ≥ 204.
    """
    n = 1614
    lost = torch.arange(n) < round(0.252 * n)
    for ranks in oracle_ranks(torch.arange(n), torch.arange(n), lost):
        found = rank_metrics(ranks)
        share = lost.double().mean().item()
        assert found["R@1"] == pytest.approx(100 * (1 - share) + 100 * share / n)
        assert found["MnR"] == pytest.approx((1 - share) + share * (n + 1) / 2)
