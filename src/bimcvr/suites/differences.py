"""Every pairwise difference of a table's rows, with interval and p-value, and which values may be printed bold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from bimcvr.evaluation.result import Resampling
from bimcvr.metrics.bootstrap import BOUNDS, quantiles
from bimcvr.metrics.significance import holm, randomisation_test
from bimcvr.suites.scores import Estimate, RowResult

LEVEL = 0.05
LOWER_IS_BETTER = ("MdR", "MnR")


@dataclass(frozen=True)
class Ratio:
    """One row's R@K divided by another's.

    Attributes:
        value: None where the other's is zero.
        low: Lower end of the 95 % interval over the same draws of patients.
        high: Its upper end; infinite where draws without a finite ratio reach that far.
        zero_draws: The number of draws in which the other's R@K is zero.
    """

    value: float | None
    low: float
    high: float
    zero_draws: int


@dataclass(frozen=True)
class Difference:
    """One row's metric minus another's.

    Attributes:
        one, other: the rows' names.
        subject: a direction or a keyword.
        figure: the name of the metric.
        value: one − other.
        interval: 95 %, over the same draws of patients.
        p: two-sided.
        p_holm: corrected for all pairs of the table's rows in this subject and metric.
        ratio: of R@K, one / other.
        inverse: of R@K, other / one.
    """

    one: str
    other: str
    subject: str
    figure: str
    value: float
    interval: list[float]
    p: float
    p_holm: float
    ratio: Ratio | None = None
    inverse: Ratio | None = None


def differences(
    methods: Sequence[RowResult],
    subjects: Sequence[str],
    figures: Sequence[str],
    patients: Sequence[str],
    resampling: Resampling,
) -> list[Difference]:
    """Compare every two rows of a table.

    For a direction, p comes from a randomisation test that swaps patients between the rows. A keyword is one query, so
    there is nothing to swap: its p is twice the share of the draws of patients that contradict the difference's sign.

    Args:
        methods: The rows that have results.
        subjects: Directions or keywords.
        figures: The names of the table's columns.
        patients: Those of the gallery's rows.
        resampling: How both tests draw.
    """
    found: list[Difference] = []
    for subject in subjects:
        pairs = [
            (one, other)
            for one, other in combinations(methods, 2)
            if subject in one.figures and subject in other.figures
        ]
        swapped = {
            (one.row.name, other.row.name): _swapped(one, other, subject, patients, resampling) for one, other in pairs
        }
        for figure in figures:
            rows = [
                _difference(one, other, subject, figure, swapped[one.row.name, other.row.name])
                for one, other in pairs
                if figure in one.figures[subject]
            ]
            corrected = holm({str(number): row.p for number, row in enumerate(rows)})
            found += [replace(row, p_holm=corrected[str(number)]) for number, row in enumerate(rows)]
    return found


def best_and_significant(values: Mapping[str, float], rows: Sequence[Difference], figure: str) -> str | None:
    """Return the row that is significantly better than the second best, None if there is none.

    Args:
        values: The metric of each row, by the row's name.
        rows: The differences of this subject and metric.
        figure: The metric's name, which decides whether higher is better.
    """
    ordered = sorted(values, key=lambda name: values[name], reverse=figure not in LOWER_IS_BETTER)
    if len(ordered) < 2:
        return None
    between = next(row for row in rows if {row.one, row.other} == set(ordered[:2]))
    return ordered[0] if between.p_holm < LEVEL else None


def _swapped(
    one: RowResult, other: RowResult, subject: str, patients: Sequence[str], resampling: Resampling
) -> dict[str, float]:
    if subject not in one.per_query:
        return {}
    values = (one.per_query[subject], other.per_query[subject])
    return randomisation_test(*values, patients, resampling.seed, resampling.resamples)


def _difference(
    one: RowResult, other: RowResult, subject: str, figure: str, swapped: Mapping[str, float]
) -> Difference:
    first, second = one.figures[subject][figure], other.figures[subject][figure]
    drawn = first.drawn - second.drawn
    p = swapped[figure] if figure in swapped else _bootstrap_p(drawn)
    ratios = (_ratio(first, second), _ratio(second, first)) if figure.startswith("R@") else ()
    bounds = quantiles({"": drawn})[""]
    return Difference(one.row.name, other.row.name, subject, figure, first.value - second.value, bounds, p, p, *ratios)


def _ratio(over: Estimate, under: Estimate) -> Ratio:
    """Divide two metrics, each the mean over its seeds, in every draw.

    A draw whose denominator is zero has no finite ratio: it counts as infinite. Where both are zero, which is
    uninformative, it counts as zero for the lower bound and infinite for the upper one, so it only widens the interval.
    """
    zero = under.drawn == 0
    drawn = over.drawn / torch.where(zero, 1.0, under.drawn)
    infinite = torch.full_like(drawn, torch.inf)
    low = _quantile(torch.where(zero, torch.where(over.drawn == 0, 0.0, infinite), drawn), BOUNDS[0])
    high = _quantile(torch.where(zero, infinite, drawn), BOUNDS[1])
    return Ratio(over.value / under.value if under.value else None, low, high, int(zero.sum()))


def _quantile(drawn: Tensor, share: float) -> float:
    """Return a quantile of draws, some of which may be infinite: torch cannot interpolate between those."""
    ordered = drawn.sort().values
    position = share * (len(ordered) - 1)
    below, above = ordered[math.floor(position)].item(), ordered[math.ceil(position)].item()
    return below if below == above else below + (position - math.floor(position)) * (above - below)


def _bootstrap_p(drawn: Tensor) -> float:
    """Return the two-sided p-value of a difference from its draws, never zero."""
    known = drawn[~drawn.isnan()]
    against = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + against) / (len(known) + 1))
