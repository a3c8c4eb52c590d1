"""From ranks to per-query values, and from per-query values to the metrics of one direction."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bimcvr.metrics.ranking.ranks import Ranks, chance_ranks

KS = (1, 5, 10)
RECALL_AT = (1, 5, 10, 50, 100)
"""The K of R@K in the paper's tables."""

PerQueryValues = Mapping[str, Tensor]
"""By the name of a metric, what each query contributes to it, (Q,) float64: the metric is the mean."""


def per_query_values(ranks: Ranks, ks: Sequence[int] = KS) -> dict[str, Tensor]:
    """Return what each query contributes to R@K (percent), MRR and MnR.

    Args:
        ranks: Of Q queries over a gallery of Q items.
        ks: The K of R@K; a K above the number of queries is left out.

    Returns:
        (Q,) float64 for each metric.
    """
    recall = {f"R@{k}": 100 * ranks.hit_probability(k) for k in ks if k <= len(ranks.above)}
    return {**recall, "MRR": ranks.reciprocal, "MnR": ranks.expected}


def average_over_seeds(runs: Sequence[PerQueryValues]) -> dict[str, Tensor]:
    """Return each query's values, averaged over runs with different seeds."""
    return {name: torch.stack([run[name] for run in runs]).mean(0) for name in runs[0]}


def summarize(values: PerQueryValues) -> dict[str, float]:
    """Return the metrics of one direction: R@K in percent, MRR, MdR and MnR.

    MdR is the median of the queries' ranks, the mean of the middle two where their number is even.

    Args:
        values: (Q,) values of Q queries for each of R@K, MRR and MnR, as from `per_query_values`.

    Example:
        >>> zero, one = torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)
        >>> ranks = Ranks(above=torch.tensor([0, 1, 3]), tied_wrong=zero, tied_right=one)
        >>> metrics = summarize(per_query_values(ranks, ks=(1, 2, 5)))
        >>> {name: round(value, 3) for name, value in metrics.items()}
        {'R@1': 33.333, 'R@2': 66.667, 'MRR': 0.583, 'MdR': 2.0, 'MnR': 2.333}
    """
    means = {name: column.mean().item() for name, column in values.items()}
    return with_median(means, median(values["MnR"]))


def with_median(means: dict[str, float], mdr: float) -> dict[str, float]:
    """Insert MdR before MnR, where tables show it."""
    return {**{name: value for name, value in means.items() if name != "MnR"}, "MdR": mdr, "MnR": means["MnR"]}


def median(values: Tensor) -> float:
    """Return the median; for an even count the mean of the middle two (torch's own takes the lower one)."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]).item() / 2


def rank_metrics(ranks: Ranks, ks: Sequence[int] = KS) -> dict[str, float]:
    """Return R@K, MRR, MdR and MnR of one direction in one run.

    Args:
        ranks: of Q queries.
        ks: the K of R@K; a K above the number of queries is left out.
    """
    return summarize(per_query_values(ranks, ks))


def chance_metrics(group: Tensor, ks: Sequence[int] = KS) -> dict[str, float]:
    """Return the chance level of every metric under the right answers that `group` (N,) defines.

    R@K is the mean of 1 − C(N−p, K) / C(N, K), MdR and MnR the median and mean of (N + 1) / (p + 1), with p the
    number of a query's right answers.

    Args:
        group: (N,) int64; rows with the same number are right answers of each other.
        ks: the K of R@K.

    Example:
        >>> {name: round(value, 6) for name, value in chance_metrics(torch.arange(200)).items()}
        {'R@1': 0.5, 'R@5': 2.5, 'R@10': 5.0, 'MRR': 0.02939, 'MdR': 100.5, 'MnR': 100.5}
    """
    return rank_metrics(chance_ranks(group), ks)
