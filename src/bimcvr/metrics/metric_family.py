"""Metrics of one kind with their bootstrap draws, and their mean over runs with different seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import quantiles

MetricValues = dict[str, dict[str, float]]
"""Metrics by subject (a label, a direction, a kind of probe) and name."""


@dataclass(frozen=True)
class MetricFamily:
    """Metrics of one kind: those of every keyword, of every direction, or of every kind of probe.

    Attributes:
        values: By subject (a label, a direction) and name.
        draws: Those that have an interval, in each of R resamples, (R,) float64; NaN where a resample has no value.
    """

    values: MetricValues
    draws: dict[str, dict[str, Tensor]]

    def intervals(self) -> dict[str, dict[str, list[float]]]:
        """Return the 95 % intervals, by subject and name."""
        return {subject: quantiles(draws) for subject, draws in self.draws.items()}


def mean_over_seeds(runs: Sequence[MetricFamily]) -> MetricFamily:
    """Return the means over runs that were scored on the same rows with the same draws."""
    return MetricFamily(
        {
            subject: {name: _mean([run.values[subject][name] for run in runs]) for name in values}
            for subject, values in runs[0].values.items()
        },
        {
            subject: {name: torch.stack([run.draws[subject][name] for run in runs]).mean(0) for name in draws}
            for subject, draws in runs[0].draws.items()
        },
    )


def spread_over_seeds(runs: Sequence[MetricValues]) -> MetricValues:
    """Return the standard deviation (n − 1) of every metric over runs."""
    return {
        subject: {
            name: float(torch.tensor([run[subject][name] for run in runs], dtype=torch.float64).std())
            for name in values
        }
        for subject, values in runs[0].items()
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
