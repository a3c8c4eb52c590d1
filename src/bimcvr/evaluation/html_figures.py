"""The charts of a results page: the ranks of the right answers, and how often they are among the first K."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from bimcvr.evaluation.result import Resampling
from bimcvr.html.render import COLOURS, new_figure, svg
from bimcvr.metrics.bootstrap import bootstrap_draws, quantiles
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES, Ranks


def rank_histogram(ranks: Mapping[str, Ranks], group: Tensor) -> Markup:
    """Draw the share of queries whose first right answer has each rank, and the share expected by chance.

    A tie is spread over the ranks that it may take, so that the bars up to K add up to R@K.

    Args:
        ranks: The ranks by direction.
        group: (N,) int64; rows with the same number are right answers of each other.
    """
    last = _last_ranks(len(group))
    first = [1, *(k + 1 for k in last[:-1])]
    names = [f"{low}" if low == high else f"{low}–{high}" for low, high in zip(first, last, strict=True)]
    figure, axes = new_figure()
    positions = np.arange(len(last))
    handles: list[Any] = []
    for i, (direction, title) in enumerate(DIRECTION_TITLES.items()):
        share = np.diff([100 * ranks[direction].hit_probability(k).mean().item() for k in last], prepend=0)
        handles.append(axes.bar(positions + 0.4 * (i - 0.5), share, 0.4, color=COLOURS[i], label=title))
    by_chance = np.diff([_by_chance(group, k) for k in last], prepend=0)
    handles.append(
        axes.hlines(by_chance, positions - 0.42, positions + 0.42, color="black", linewidth=1.2, label="chance")
    )
    axes.set_xticks(positions, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlabel(f"rank of the first right answer among {len(group)}")
    axes.set_ylabel("queries, %")
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return svg(figure, "Rank histogram: share of queries by the rank of their first right answer, in both directions")


def recall_curve(
    ranks: Mapping[str, Ranks],
    group: Tensor,
    patients: Sequence[str],
    resampling: Resampling,
    others: Mapping[str, Mapping[str, Ranks]] | None = None,
) -> Markup:
    """Draw R@K over K with its 95 % band (bootstrap over patients) and chance, and other methods as dotted lines.

    Args:
        ranks: The ranks by direction.
        group: (N,) int64; rows with the same number are right answers of each other.
        patients: N patient ids.
        resampling: How the bands are drawn; with the result's own they equal the intervals of its table.
        others: Of each other method its name and its ranks by direction.
    """
    ks = _last_ranks(len(group))
    figure, axes = new_figure()
    for (direction, title), colour in zip(DIRECTION_TITLES.items(), COLOURS, strict=True):
        hits = {f"R@{k}": 100 * ranks[direction].hit_probability(k) for k in ks}
        draws = bootstrap_draws(hits, patients, resampling.seed, resampling.resamples)
        bands = np.array(list(quantiles(draws).values()))
        recalls = [column.mean().item() for column in hits.values()]
        axes.plot(ks, recalls, color=colour, marker="o", markersize=3, label=title)
        axes.fill_between(ks, bands[:, 0], bands[:, 1], color=colour, alpha=0.18, linewidth=0)
    styles = [(0, (1, 1.5)), (0, (4, 1, 1, 1)), (0, (6, 2))]
    for number, (name, of_other) in enumerate((others or {}).items()):
        for (direction, title), colour in zip(DIRECTION_TITLES.items(), COLOURS, strict=True):
            recalls = [100 * of_other[direction].hit_probability(k).mean().item() for k in ks]
            style = styles[number % len(styles)]
            axes.plot(ks, recalls, color=colour, linewidth=1.2, linestyle=style, label=f"{title}, {name}")
    axes.plot(ks, [_by_chance(group, k) for k in ks], color="black", linewidth=1.2, linestyle="--", label="chance")
    axes.set_xscale("log")
    ticks = [k for k in ks if k == ks[-1] or k < ks[-1] / 1.5]  # closer ticks would overlap the last label
    axes.set_xticks(ticks, list(map(str, ticks)), rotation=40, ha="right", rotation_mode="anchor")
    axes.minorticks_off()
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_xlabel("K (log scale)")
    axes.set_ylabel("right answer among the first K, %")
    figure.legend(loc="outside upper left", ncols=2 if others else 3, frameon=False, fontsize=9)
    return svg(figure, "Recall curve: R@K over K in both directions with 95 % bands, and chance")


def _last_ranks(size: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, … below `size`, and `size`."""
    steps = [step * 10**power for power in range(len(str(size))) for step in (1, 2, 5)]
    return [*(step for step in steps if step < size), size]


def _by_chance(group: Tensor, k: int) -> float:
    """Return the percentage of queries with a hit among the first `k` of a random order."""
    size = torch.bincount(group)[group]
    queries = torch.bincount(size)  # queries by number of right answers: equal numbers, equal chances
    right = queries.nonzero().flatten()
    ranks = Ranks(above=torch.zeros_like(right), tied_wrong=len(group) - right, tied_right=right)
    return float(100 * (ranks.hit_probability(k) * queries[right]).sum() / len(group))
