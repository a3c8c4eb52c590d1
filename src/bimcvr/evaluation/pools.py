"""Retrieval within small pools of studies, as several papers report it: each query against the N studies of its pool.

The rows are shuffled and cut into pools of N that do not overlap, many times over; a remainder smaller than N is left
out of that draw. The smaller the pool, the easier the task: figures of different N, or of a whole gallery, are not
comparable.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Resampling
from bimcvr.metrics.bootstrap import bootstrap_draws, quantiles
from bimcvr.metrics.per_query import average_over_seeds, per_query_values
from bimcvr.metrics.ranking.ranks import DIRECTIONS, rank_scores, right_answers
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

DRAWS = 100
"""How often the rows are shuffled."""

RECALL_AT = (1, 5, 8, 10)
"""The K of R@K in papers with pools; a K that is not below the pool's size is left out."""


def pooled_retrieval(
    runs: Sequence[Embeddings], gallery: Gallery, size: int, resampling: Resampling, rule: str = "report"
) -> dict[str, Any]:
    """Score both directions within pools of a fixed number of studies.

    Args:
        runs: The embeddings of one method in one or several runs, with the gallery's rows in its order.
        gallery: The rows.
        size: The number of studies in a pool.
        resampling: How intervals are drawn; its seed also shuffles the rows.
        rule: Which answers are right: a key of `RULES`.

    Returns:
        `size`, `draws`, `pools` (a draw's), `metrics` (means over queries of their means over draws and runs),
        `intervals` (95 %, by patient) and `chance`.

    Raises:
        UserError: The rows do not fill one pool, or a pool has fewer than two studies.
    """
    total = len(gallery.rows)
    if not 2 <= size <= total:
        raise UserError(f"A pool of {size} needs at least 2 studies and at most the {total} that are scored.")
    group = right_answers(gallery, rule)
    generator = np.random.default_rng(resampling.seed)
    draws = [_pools(generator.permutation(total), size) for _ in range(DRAWS)]
    times = torch.stack([torch.bincount(pools.flatten(), minlength=total) for pools in draws]).sum(0)
    scored = times > 0
    patients = [patient for patient, kept in zip(gallery.patient, scored.tolist(), strict=True) if kept]
    ks = [k for k in RECALL_AT if k < size]

    def mean_values(score: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {name: column[scored] for name, column in _mean_values(score, group, draws, times, ks).items()}

    metrics, intervals = {}, {}
    for direction in DIRECTIONS:
        values = average_over_seeds([mean_values(_cosines(run, direction)) for run in runs])
        metrics[direction] = {name: column.mean().item() for name, column in values.items()}
        resampled = quantiles(bootstrap_draws(values, patients, resampling.seed, resampling.resamples))
        intervals[direction] = {name: resampled[name] for name in values}
    by_chance = mean_values(lambda pools: torch.zeros(*pools.shape, size, dtype=torch.float64))
    return {
        "size": size,
        "draws": DRAWS,
        "pools": total // size,
        "metrics": metrics,
        "intervals": intervals,
        "chance": {name: column.mean().item() for name, column in by_chance.items()},
    }


def _pools(order: np.ndarray, size: int) -> Tensor:
    """Cut an order of the rows (N,) into whole pools (P, size)."""
    return torch.from_numpy(order[: len(order) // size * size]).reshape(-1, size)


def _cosines(run: Embeddings, direction: str) -> Callable[[Tensor], Tensor]:
    """Return the function from pools (P, n) to the cosines (P, n, n) of their queries with their items."""
    cpu = torch.device("cpu")
    image, text = UnitVectors(run.image.detach(), "image", cpu), UnitVectors(run.text.detach(), "text", cpu)
    query, gallery = (text, image) if direction == "text_to_image" else (image, text)
    return lambda pools: query.exact(pools) @ gallery.exact(pools).mT


def _mean_values(
    score: Callable[[Tensor], Tensor], group: Tensor, draws: Sequence[Tensor], times: Tensor, ks: Sequence[int]
) -> dict[str, Tensor]:
    """Return each row's values (N,), averaged over the pools that it was in.

    Args:
        score: From pools (P, n) to scores (P, n, n).
        group: (N,) which rows are right answers of each other.
        draws: Of each draw its pools (P, n).
        times: (N,) in how many pools a row was.
        ks: The K of R@K.
    """
    sums: dict[str, Tensor] = {}
    for pools in draws:
        rows = pools.flatten()
        items = group[pools].repeat_interleave(pools.shape[1], dim=0)  # of every query its pool
        values = per_query_values(rank_scores(score(pools).flatten(0, 1), group[rows], items), ks)
        for name, column in values.items():
            sums.setdefault(name, torch.zeros(len(group), dtype=torch.float64)).index_add_(0, rows, column)
    return {name: column / times.clamp(min=1) for name, column in sums.items()}
