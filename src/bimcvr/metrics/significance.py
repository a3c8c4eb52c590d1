"""Is one method better than another? Paired differences with intervals, and randomisation tests over patients."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from bimcvr.metrics.bootstrap import CHUNK, RESAMPLES, bootstrap_draws, patient_numbers, quantiles, weighted_medians
from bimcvr.metrics.per_query import PerQueryValues, summarize


def compare_methods(
    one: PerQueryValues, other: PerQueryValues, patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, float | list[float]]]:
    """Compare two methods on the same queries.

    Args:
        one: The per-query values (Q,) of Q queries.
        other: Those of the other method, for the same queries in the same order.
        patients: Q patient ids.
        seed: Seed of the draws and the swaps.
        resamples: Number of draws, and of rounds of the randomisation test.

    Returns:
        For each metric `difference` (one − other), its 95 % `interval` over the same draws of patients, and `p`, the
        two-sided p-value of the randomisation test.
    """
    metrics, other_metrics = summarize(one), summarize(other)
    draws, other_draws = (bootstrap_draws(values, patients, seed, resamples) for values in (one, other))
    bounds = quantiles({name: draws[name] - other_draws[name] for name in metrics})
    p = randomisation_test(one, other, patients, seed, resamples)
    return {
        name: {"difference": value - other_metrics[name], "interval": bounds[name], "p": p[name]}
        for name, value in metrics.items()
    }


def randomisation_test(
    one: PerQueryValues, other: PerQueryValues, patients: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, float]:
    """Return two-sided p-values of the null hypothesis that the two methods are interchangeable.

    In each of R rounds a coin decides for every patient whether the two methods swap the values of all its queries.
    p = (1 + rounds whose difference is at least as large as the observed) / (R + 1), so it is never zero (Phipson
    and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39).

    Args:
        one: The per-query values (Q,) of Q queries.
        other: Those of the other method, for the same queries in the same order.
        patients: Q patient ids.
        seed: Seed of the swaps.
        resamples: R, the number of rounds.

    Returns:
        The p-value of each metric, by name.
    """
    patient = patient_numbers(patients)
    count = int(patient.max()) + 1
    difference = torch.stack([one[name] - other[name] for name in one], dim=1)
    per_patient = difference.new_zeros(count, difference.shape[1]).index_add_(0, patient, difference)
    observed = per_patient.sum(0).abs()
    means, medians = torch.zeros(len(one), dtype=torch.float64), 0
    both = torch.cat([one["MnR"], other["MnR"]])
    kept_or_swapped = torch.cat([patient, patient + count])
    median_gap = abs(summarize(one)["MdR"] - summarize(other)["MdR"])
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - first)
        keep = torch.from_numpy(generator.integers(2, size=(rows, count), dtype=np.int32))
        # a difference that equals the observed one up to rounding counts as at least as large
        means += ((2 * keep - 1).double() @ per_patient).abs().ge(observed * (1 - 1e-12)).sum(0)
        first_set, second_set = torch.cat([keep, 1 - keep], dim=1), torch.cat([1 - keep, keep], dim=1)
        gaps = weighted_medians(both, first_set, kept_or_swapped) - weighted_medians(both, second_set, kept_or_swapped)
        medians += int((gaps.abs() >= median_gap - 1e-12).sum())
    p = {name: (1 + exceeding.item()) / (resamples + 1) for name, exceeding in zip(one, means, strict=True)}
    return {**p, "MdR": (1 + medians) / (resamples + 1)}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for multiple testing by Holm's step-down method (1979, Scand. J. Stat. 6:65).

    Args:
        p: the p-values by name.

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    ordered = sorted(p, key=lambda name: p[name])
    corrected, highest = {}, 0.0
    for position, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - position) * p[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p}
