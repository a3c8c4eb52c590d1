"""Percentile intervals by a bootstrap over patients, the gallery fixed."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bimcvr.metrics.per_query import Outcomes

RESAMPLES = 10_000
BOUNDS = (0.025, 0.975)
"""The quantiles of a 95 % interval."""

CHUNK = 250
"""Resamples at a time: a table of 250 × N weights stays in the cache."""


def intervals(
    of: Outcomes, patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, list[float]]:
    """Return the 95 % interval of every figure of one direction, as `summary` names them.

    Patients are drawn with replacement, as many as there are, each with all its queries; the gallery stays
    as it is.

    Args:
        of: the outcomes of Q queries.
        patients: Q patient ids.
        seed: of the draws.
        resamples: their number.

    Returns:
        `{"R@1": [low, high], …, "MdR": [low, high], "MnR": [low, high]}`, R@K in percent.

    Example:
        >>> rank = torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64)
        >>> intervals({"R@1": 100 * (rank == 1).double(), "MnR": rank}, ["a", "b", "c", "d"], resamples=1000)
        {'R@1': [0.0, 100.0], 'MdR': [1.0, 2.0], 'MnR': [1.0, 2.0]}
    """
    return quantiles(bootstrap(of, patients, seed, resamples))


def bootstrap(of: Outcomes, patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Tensor]:
    """Return every figure of one direction in each resample, (R,) float64 by name; MdR only where there is MnR.

    The same patients and seed give the same draws, so that the figures of two methods can be subtracted.
    """
    if any(len(patients) != len(values) for values in of.values()):
        raise ValueError(f"{len(patients)} patients for {len(next(iter(of.values())))} queries")
    patient = patient_numbers(patients)
    values = torch.stack(list(of.values()), dim=1)
    means, medians = [], []
    for times in draws(int(patient.max()) + 1, seed, resamples):
        means.append(weighted_means(values, patient, times))
        if "MnR" in of:
            medians.append(weighted_medians(of["MnR"], times, patient))
    drawn = dict(zip(of, torch.cat(means).unbind(1), strict=True))
    if "MnR" not in of:
        return drawn
    last = drawn.pop("MnR")
    return {**drawn, "MdR": torch.cat(medians), "MnR": last}


def quantiles(drawn: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return the 95 % interval of each figure from its values in all resamples.

    A resample in which the figure is not defined (NaN) is passed over, and a figure that no resample defines.
    """
    bounds = torch.tensor(BOUNDS, dtype=torch.float64)
    return {
        name: torch.nanquantile(values, bounds).tolist() for name, values in drawn.items() if not values.isnan().all()
    }


def patient_numbers(patients: Sequence[str]) -> Tensor:
    """Return for each query (N,) int64 the number of its patient, from 0, in the ids' alphabetical order."""
    return torch.from_numpy(np.unique(np.asarray(patients), return_inverse=True)[1])


def draws(patients: int, seed: int, resamples: int) -> Iterator[Tensor]:
    """Yield (R, patients) int32 tables: how often each patient stands in each of R resamples."""
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - first)
        drawn = generator.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * patients)
        yield torch.from_numpy(times.reshape(rows, patients).astype(np.int32))


def weighted_means(values: Tensor, patient: Tensor, times: Tensor) -> Tensor:
    """Return the means (R, M) of values (N, M) in R resamples.

    Args:
        values: (N, M) float64, M values a query.
        patient: (N,) int64, each query's patient.
        times: (R, patients), how often each patient was drawn.
    """
    with_count = torch.cat([values, torch.ones(len(values), 1, dtype=values.dtype)], dim=1)
    per_patient = with_count.new_zeros(times.shape[1], with_count.shape[1]).index_add_(0, patient, with_count)
    total = times.double() @ per_patient
    return total[:, :-1] / total[:, -1:]


def weighted_medians(values: Tensor, times: Tensor, patient: Tensor) -> Tensor:
    """Return the medians (R,) of values (N,) in R resamples.

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
