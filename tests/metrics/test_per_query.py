"""Figures of a direction: worked by hand, at chance, and against ranx where nothing ties."""

import numpy as np
import pytest
import torch

from bimcvr.metrics.per_query import average_over_seeds, chance_metrics, per_query_values, rank_metrics, summarize
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.metrics.ranking.ranks import Ranks


def test_figures_worked_by_hand() -> None:
    """Expected ranks 1, 2.5, 3 and 5; hits at 1: 1 0 0 0, at 2: 1 ½ 0 0, at 4: 1 1 1 0; 1/rank: 1, (½ + ⅓)/2, ⅓, ⅕."""
    ranks = Ranks(torch.tensor([0, 1, 2, 4]), torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 1, 1]))
    assert rank_metrics(ranks, ks=(1, 2, 4)) == pytest.approx(
        {"R@1": 25.0, "R@2": 37.5, "R@4": 75.0, "MRR": (1 + 5 / 12 + 1 / 3 + 1 / 5) / 4, "MdR": 2.75, "MnR": 2.875}
    )


def test_chance_of_the_paper_s_gallery() -> None:
    n = 1614
    harmonic = sum(1 / i for i in range(1, n + 1))
    assert chance_metrics(torch.arange(n), (1, 5, 10, 50, 100)) == pytest.approx(
        {**{f"R@{k}": 100 * k / n for k in (1, 5, 10, 50, 100)}, "MRR": harmonic / n, "MdR": 807.5, "MnR": 807.5}
    )


def test_chance_with_several_right_answers() -> None:
    """Of 5 items, 3 share a report: 1 − C(2,2)/C(5,2) = .9 for them, 2/5 for the others; MnR 6/4 and 6/2."""
    level = chance_metrics(torch.tensor([7, 7, 7, 1, 2]), ks=(2,))
    # the first of three in five stands at 1, 2, 3 in 6, 3, 1 of 10 cases; one of five anywhere
    mrr = (3 * (6 + 3 / 2 + 1 / 3) / 10 + 2 * (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5) / 5
    assert level == pytest.approx(
        {"R@2": 100 * (3 * 0.9 + 2 * 0.4) / 5, "MRR": mrr, "MdR": 1.5, "MnR": (3 * 1.5 + 2 * 3) / 5}
    )


def test_a_query_s_outcome_is_its_mean_over_seeds() -> None:
    """Ranks 1, 3, 9 and 3, 1, 9: the mean ranks are 2, 2, 9, with the median 2."""
    one = torch.ones(3, dtype=torch.long)
    runs = [per_query_values(Ranks(torch.tensor(above), 0 * one, one), (1,)) for above in ([0, 2, 8], [2, 0, 8])]
    assert summarize(average_over_seeds(runs)) == pytest.approx(
        {"R@1": 100 / 3, "MRR": (2 / 3 + 2 / 3 + 1 / 9) / 3, "MdR": 2.0, "MnR": 13 / 3}
    )


def test_parity_with_ranx_where_nothing_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hit rate at K and reciprocal rank, several right answers; ranx breaks ties as they come, so there are none."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling takes half a minute, computing no time either way
    import ranx

    random = torch.Generator().manual_seed(5)
    image, text = torch.randn(2, 150, 24, generator=random)
    group = torch.randint(0, 90, (150,), generator=random)
    score = (torch.nn.functional.normalize(text.double()) @ torch.nn.functional.normalize(image.double()).T).numpy()
    assert np.diff(np.sort(score, axis=1)).min() > 0
    names = [f"v{i}" for i in range(150)]
    run = ranx.Run({f"q{i}": dict(zip(names, row.tolist(), strict=True)) for i, row in enumerate(score)})
    right = ranx.Qrels({f"q{i}": {names[j]: 1 for j in range(150) if group[i] == group[j]} for i in range(150)})
    theirs = ranx.evaluate(right, run, ["hit_rate@1", "hit_rate@5", "hit_rate@10", "mrr"])
    mine = rank_metrics(rank_both(image, text, group)[0])
    assert [mine["R@1"] / 100, mine["R@5"] / 100, mine["R@10"] / 100, mine["MRR"]] == pytest.approx(
        list(theirs.values())
    )
