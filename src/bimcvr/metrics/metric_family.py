"""A family of figures with their bootstrap draws, and its mean over the runs of several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import quantiles

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Scored:
    """Figures of one kind, as of every keyword or every direction.

    Attributes:
        figures: by subject (a label, a direction), by name.
        drawn: those that have an interval in each of R resamples, (R,) float64; NaN where a resample has none.
    """

    figures: Figures
    drawn: dict[str, dict[str, Tensor]]

    def intervals(self) -> dict[str, dict[str, list[float]]]:
        """Return the 95 % intervals, by subject and name."""
        return {subject: quantiles(of) for subject, of in self.drawn.items()}


def mean_over_seeds(runs: Sequence[Scored]) -> Scored:
    """Return the means over runs that were scored on the same rows with the same draws."""
    return Scored(
        {
            subject: {name: _mean([run.figures[subject][name] for run in runs]) for name in of}
            for subject, of in runs[0].figures.items()
        },
        {
            subject: {name: torch.stack([run.drawn[subject][name] for run in runs]).mean(0) for name in of}
            for subject, of in runs[0].drawn.items()
        },
    )


def spread_over_seeds(runs: Sequence[Figures]) -> Figures:
    """Return the standard deviation (n − 1) of every figure over runs."""
    return {
        subject: {
            name: float(torch.tensor([run[subject][name] for run in runs], dtype=torch.float64).std()) for name in of
        }
        for subject, of in runs[0].items()
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
