"""Percentile intervals by a bootstrap over patients; the gallery stays fixed."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bimcvr.metrics.per_query import PerQueryValues

RESAMPLES = 10_000
BOUNDS = (0.025, 0.975)
"""The quantiles of a 95 % interval."""

CHUNK = 250
"""Resamples at a time: a table of 250 × N weights fits into the processor's cache."""


def bootstrap_intervals(
    values: PerQueryValues, patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, list[float]]:
    """Return the 95 % interval of every metric of one direction, named as by `summarize`.

    Patients are drawn with replacement, as many as there are, each with all its queries; the gallery stays
    as it is.

    Args:
        values: The per-query values (Q,) of Q queries.
        patients: Q patient ids.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        `{"R@1": [low, high], …, "MdR": [low, high], "MnR": [low, high]}`, R@K in percent.

    Example:
        >>> rank = torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64)
        >>> values = {"R@1": 100 * (rank == 1).double(), "MnR": rank}
        >>> bootstrap_intervals(values, ["a", "b", "c", "d"], resamples=1000)
        {'R@1': [0.0, 100.0], 'MdR': [1.0, 2.0], 'MnR': [1.0, 2.0]}
    """
    return quantiles(bootstrap_draws(values, patients, seed, resamples))


def bootstrap_draws(
    values: PerQueryValues, patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Tensor]:
    """Return every metric of one direction in each of R resamples, (R,) float64 by name; MdR only where MnR is given.

    The same patients and seed give the same draws, so that the draws of two methods can be subtracted.

    Args:
        values: The per-query values of Q queries.
        patients: Q patient ids.
        seed: Seed of the draws.
        resamples: R, the number of draws.

    Raises:
        ValueError: The number of patients is not the number of queries.
    """
    if any(len(patients) != len(column) for column in values.values()):
        raise ValueError(f"{len(patients)} patients for {len(next(iter(values.values())))} queries")
    patient = patient_numbers(patients)
    table = torch.stack(list(values.values()), dim=1)
    means, medians = [], []
    for times in patient_draws(int(patient.max()) + 1, seed, resamples):
        means.append(weighted_means(table, patient, times))
        if "MnR" in values:
            medians.append(weighted_medians(values["MnR"], times, patient))
    draws = dict(zip(values, torch.cat(means).unbind(1), strict=True))
    if "MnR" not in values:
        return draws
    mnr = draws.pop("MnR")
    return {**draws, "MdR": torch.cat(medians), "MnR": mnr}


def quantiles(draws: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return the 95 % interval of each metric from its draws.

    Resamples in which a metric is undefined (NaN) are ignored; a metric that no resample defines has no interval.
    """
    bounds = torch.tensor(BOUNDS, dtype=torch.float64)
    return {
        name: torch.nanquantile(values, bounds).tolist() for name, values in draws.items() if not values.isnan().all()
    }


def patient_numbers(patients: Sequence[str]) -> Tensor:
    """Return the number of each query's patient, (N,) int64, counted from 0 in alphabetical order of the ids."""
    return torch.from_numpy(np.unique(np.asarray(patients), return_inverse=True)[1])


def patient_draws(patients: int, seed: int, resamples: int) -> Iterator[Tensor]:
    """Yield (R, patients) int32 tables: how often each patient occurs in each of R resamples."""
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - first)
        chosen = generator.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * patients)
        yield torch.from_numpy(times.reshape(rows, patients).astype(np.int32))


def weighted_means(values: Tensor, patient: Tensor, times: Tensor) -> Tensor:
    """Return the means (R, M) of the values (N, M) in R resamples.

    Args:
        values: (N, M) float64, M values for each query.
        patient: (N,) int64, each query's patient.
        times: (R, patients), how often each patient was drawn.
    """
    with_count = torch.cat([values, torch.ones(len(values), 1, dtype=values.dtype)], dim=1)
    per_patient = with_count.new_zeros(times.shape[1], with_count.shape[1]).index_add_(0, patient, with_count)
    total = times.double() @ per_patient
    return total[:, :-1] / total[:, -1:]


def weighted_medians(values: Tensor, times: Tensor, patient: Tensor) -> Tensor:
    """Return the medians (R,) of the values (N,) in R resamples.

    The median of an even number of values is the mean of the middle two.

    Args:
        values: (N,) float64.
        times: (R, patients) int32, how often each patient was drawn.
        patient: (N,) int64, each value's patient.
    """
    values, order = values.sort()
    upto = times[:, patient[order]].cumsum(1, dtype=torch.int32)
    total = upto[:, -1:]
    middle = torch.cat([(total - 1) // 2, total // 2], dim=1)
    return values[torch.searchsorted(upto, middle, right=True)].mean(1)
