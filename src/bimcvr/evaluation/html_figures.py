"""The figures of a results page: where the right answers stand, and how often they are among the first K."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from bimcvr.evaluation.result import Draws
from bimcvr.evaluation.text_table import WAYS
from bimcvr.html.render import COLOURS, new_figure, svg
from bimcvr.metrics.bootstrap import bootstrap, quantiles
from bimcvr.metrics.ranks import Ranks


def rank_histogram(ranked: Mapping[str, Ranks], group: Tensor) -> Markup:
    """Draw which share of the queries finds its first right answer at which rank, and the share by chance.

    Ties are spread over the ranks that they may take, so that the bars up to K add up to R@K.

    Args:
        ranked: the ranks by direction.
        group: (N,) int64, which rows are right answers of each other.
    """
    last = _last_ranks(len(group))
    first = [1, *(k + 1 for k in last[:-1])]
    names = [f"{low}" if low == high else f"{low}–{high}" for low, high in zip(first, last, strict=True)]
    figure, axes = new_figure()
    place = np.arange(len(last))
    drawn: list[Any] = []
    for i, (way, title) in enumerate(WAYS.items()):
        share = np.diff([100 * ranked[way].hit_probability(k).mean().item() for k in last], prepend=0)
        drawn.append(axes.bar(place + 0.4 * (i - 0.5), share, 0.4, color=COLOURS[i], label=title))
    by_chance = np.diff([_by_chance(group, k) for k in last], prepend=0)
    drawn.append(axes.hlines(by_chance, place - 0.42, place + 0.42, color="black", linewidth=1.2, label="chance"))
    axes.set_xticks(place, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlabel(f"rank of the first right answer among {len(group)}")
    axes.set_ylabel("queries, %")
    figure.legend(handles=drawn, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return svg(figure, "Rank histogram: share of queries by the rank of their first right answer, in both directions")


def recall_curve(ranked: Mapping[str, Ranks], group: Tensor, patients: Sequence[str], draws: Draws) -> Markup:
    """Draw R@K over K with its 95 % band (bootstrap over patients) and chance.

    Args:
        ranked: the ranks by direction.
        group: (N,) int64, which rows are right answers of each other.
        patients: N patient ids.
        draws: with those of the result the bands are those of its table.
    """
    ks = _last_ranks(len(group))
    figure, axes = new_figure()
    for (way, title), colour in zip(WAYS.items(), COLOURS, strict=True):
        hits = {f"R@{k}": 100 * ranked[way].hit_probability(k) for k in ks}
        bands = np.array(list(quantiles(bootstrap(hits, patients, draws.seed, draws.resamples)).values()))
        axes.plot(ks, [of.mean().item() for of in hits.values()], color=colour, marker="o", markersize=3, label=title)
        axes.fill_between(ks, bands[:, 0], bands[:, 1], color=colour, alpha=0.18, linewidth=0)
    axes.plot(ks, [_by_chance(group, k) for k in ks], color="black", linewidth=1.2, linestyle="--", label="chance")
    axes.set_xscale("log")
    ticks = [k for k in ks if k == ks[-1] or k < ks[-1] / 1.5]  # nearer to the last its label would lie upon that
    axes.set_xticks(ticks, list(map(str, ticks)), rotation=40, ha="right", rotation_mode="anchor")
    axes.minorticks_off()
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_xlabel("K (log scale)")
    axes.set_ylabel("right answer among the first K, %")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return svg(figure, "Recall curve: R@K over K in both directions with 95 % bands, and chance")


def _last_ranks(size: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, … below `size`, and `size`."""
    steps = [step * 10**power for power in range(len(str(size))) for step in (1, 2, 5)]
    return [*(step for step in steps if step < size), size]


def _by_chance(group: Tensor, k: int) -> float:
    """Return the percentage of queries with a hit among the first `k` of a random order."""
    size = torch.bincount(group)[group]
    queries = torch.bincount(size)  # how many have as many right answers: those fare alike
    right = queries.nonzero().flatten()
    ranks = Ranks(above=torch.zeros_like(right), tied_wrong=len(group) - right, tied_right=right)
    return float(100 * (ranks.hit_probability(k) * queries[right]).sum() / len(group))
