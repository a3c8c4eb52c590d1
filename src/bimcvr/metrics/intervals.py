"""Percentile intervals by a bootstrap over patients, the gallery fixed."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from bimcvr.metrics.ranks import Ranks

RESAMPLES = 10_000
BOUNDS = (0.025, 0.975)
"""The quantiles of a 95 % interval."""

CHUNK = 250
"""Resamples at a time: a table of 250 × N weights stays in the cache."""


def intervals(
    ranks: Ranks, patients: Sequence[str], ks: Sequence[int], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, list[float]]:
    """Return the 95 % interval of every figure of one direction, as `figures` names them.

    Patients are drawn with replacement, as many as there are, each with all its queries; the gallery stays
    as it is. The same patients and seed give the same draws, so that two models' figures can be paired.

    Args:
        ranks: of N queries.
        patients: N patient ids.
        ks: the K of R@K; a K above N is left out.
        seed: of the draws.
        resamples: their number.

    Returns:
        `{"R@1": [low, high], …, "MdR": [low, high], "MnR": [low, high]}`, R@K in percent.

    Example:
        >>> one = torch.ones(4, dtype=torch.long)
        >>> ranks = Ranks(above=torch.tensor([0, 0, 1, 1]), tied_wrong=0 * one, tied_right=one)
        >>> intervals(ranks, ["a", "b", "c", "d"], ks=(1, 2), resamples=1000)
        {'R@1': [0.0, 100.0], 'R@2': [100.0, 100.0], 'MdR': [1.0, 2.0], 'MnR': [1.0, 2.0]}
    """
    expected = ranks.expected
    if len(patients) != len(expected):
        raise ValueError(f"{len(patients)} patients for {len(expected)} queries")
    recall = {f"R@{k}": 100 * ranks.hit_probability(k) for k in ks if k <= len(expected)}
    means = {**recall, "MnR": expected}
    patient = patient_numbers(patients)
    values = torch.stack(list(means.values()), dim=1)
    drawn_means, drawn_medians = [], []
    for times in draws(int(patient.max()) + 1, seed, resamples):
        drawn_means.append(weighted_means(values, patient, times))
        drawn_medians.append(weighted_medians(expected, times[:, patient]))
    drawn = dict(zip(means, torch.cat(drawn_means).unbind(1), strict=True))
    drawn["MdR"] = torch.cat(drawn_medians)
    bounds = torch.tensor(BOUNDS, dtype=torch.float64)
    return {name: torch.quantile(drawn[name], bounds).tolist() for name in (*recall, "MdR", "MnR")}


def patient_numbers(patients: Sequence[str]) -> Tensor:
    """Return for each query (N,) int64 the number of its patient, from 0, in the ids' alphabetical order."""
    return torch.from_numpy(np.unique(np.asarray(patients), return_inverse=True)[1])


def draws(patients: int, seed: int, resamples: int) -> Iterator[Tensor]:
    """Yield (R, patients) int64 tables: how often each patient stands in each of R resamples."""
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - first)
        drawn = generator.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * patients)
        yield torch.from_numpy(times.reshape(rows, patients))


def weighted_means(values: Tensor, patient: Tensor, times: Tensor) -> Tensor:
    """Return the means (R, M) of values (N, M) in R resamples.

    Args:
        values: (N, M) float64, M values a query.
        patient: (N,) int64, each query's patient.
        times: (R, patients) int64, how often each patient was drawn.
    """
    with_count = torch.cat([values, torch.ones(len(values), 1, dtype=values.dtype)], dim=1)
    per_patient = with_count.new_zeros(times.shape[1], with_count.shape[1]).index_add_(0, patient, with_count)
    total = times.double() @ per_patient
    return total[:, :-1] / total[:, -1:]


def weighted_medians(values: Tensor, times: Tensor) -> Tensor:
    """Return the medians (R,) of values (N,) that stand `times` (R, N) in R resamples.

    The median of an even number of values is the mean of the middle two.
    """
    values, order = values.sort()
    upto = times[:, order].cumsum(1)
    total = upto[:, -1:]
    middle = torch.cat([(total - 1) // 2, total // 2], dim=1)
    return values[torch.searchsorted(upto, middle, right=True)].mean(1)
