"""The bootstrap against a naive loop over the same draws."""

import numpy as np
import pytest
import torch

from bimcvr.metrics.bootstrap import bootstrap_intervals, patient_draws
from bimcvr.metrics.per_query import per_query_values, rank_metrics
from bimcvr.metrics.ranking.ranks import Ranks, chance_ranks

KS = (1, 5, 10)


def ranks_of(n: int, seed: int) -> Ranks:
    random = torch.Generator().manual_seed(seed)
    above, tied = (torch.randint(top, (n,), generator=random) for top in (15, 4))
    return Ranks(above, tied, torch.randint(1, 3, (n,), generator=random))


def subset(ranks: Ranks, queries: list[int]) -> Ranks:
    return Ranks(ranks.above[queries], ranks.tied_wrong[queries], ranks.tied_right[queries])


def test_equals_a_naive_loop() -> None:
    """Patients of one to several queries, odd and even totals, more resamples than one chunk."""
    patients = [f"p{i * i % 23}" for i in range(61)]
    ranks, resamples = ranks_of(61, seed=1), 600
    names = sorted(set(patients))
    drawn = []
    for table in patient_draws(len(names), seed=5, resamples=resamples):
        for times in table.tolist():
            queries = [
                q
                for name, count in zip(names, times, strict=True)
                for _ in range(count)
                for q, patient in enumerate(patients)
                if patient == name
            ]
            drawn.append(rank_metrics(subset(ranks, queries), KS))
    assert len(drawn) == resamples
    found = bootstrap_intervals(per_query_values(ranks, KS), patients, seed=5, resamples=resamples)
    assert list(found) == ["R@1", "R@5", "R@10", "MRR", "MdR", "MnR"]
    for name, bounds in found.items():
        assert bounds == pytest.approx(np.percentile([d[name] for d in drawn], [2.5, 97.5])), name


def test_draws_take_as_many_patients_as_there_are() -> None:
    table = torch.cat(list(patient_draws(40, seed=0, resamples=2000)))
    assert table.shape == (2000, 40)
    assert (table.sum(1) == 40).all()
    # A patient is drawn once on average, with variance 1 − 1/40.
    assert table.double().mean(0).tolist() == pytest.approx([1.0] * 40, abs=0.12)
    assert table.double().var().item() == pytest.approx(1 - 1 / 40, rel=0.03)
    assert not torch.equal(table[:250], table[250:500])


def test_covers_the_figure_and_depends_on_the_seed_alone() -> None:
    ranks, patients = ranks_of(200, seed=2), [str(i) for i in range(200)]
    found = bootstrap_intervals(per_query_values(ranks, KS), patients, seed=1, resamples=1000)
    assert found == bootstrap_intervals(per_query_values(ranks, KS), patients, seed=1, resamples=1000)
    assert found != bootstrap_intervals(per_query_values(ranks, KS), patients, seed=2, resamples=1000)
    for name, value in rank_metrics(ranks, KS).items():
        assert found[name][0] <= value <= found[name][1]


def test_several_studies_of_a_patient_widen_the_interval() -> None:
    """Four copies of 50 queries say no more than the 50, if one knows that they are the same patients'."""
    ranks = subset(ranks_of(50, seed=3), list(range(50)) * 4)
    low, high = bootstrap_intervals(per_query_values(ranks, KS), [str(i % 50) for i in range(200)], resamples=2000)[
        "R@5"
    ]
    low_apart, high_apart = bootstrap_intervals(
        per_query_values(ranks, KS), [str(i) for i in range(200)], resamples=2000
    )["R@5"]
    assert high - low == pytest.approx(2 * (high_apart - low_apart), rel=0.2)


def test_one_patient_has_no_spread() -> None:
    found = bootstrap_intervals(per_query_values(chance_ranks(torch.arange(4)), (1, 9)), ["a"] * 4, resamples=20)
    assert found == {"R@1": [25.0, 25.0], "MRR": pytest.approx([25 / 48] * 2), "MdR": [2.5, 2.5], "MnR": [2.5, 2.5]}


def test_every_query_needs_a_patient() -> None:
    with pytest.raises(ValueError, match="3 patients for 4 queries"):
        bootstrap_intervals(per_query_values(chance_ranks(torch.arange(4)), KS), ["a"] * 3)
