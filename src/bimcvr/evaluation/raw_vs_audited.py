"""Raw against audited: how flagged rows change the metrics at equal gallery size, and what any model could reach."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.progress import track

from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Resampling, mean_per_query_values
from bimcvr.metrics.bootstrap import BOUNDS, bootstrap_intervals
from bimcvr.metrics.noise_ceiling import noise_ceiling_metrics
from bimcvr.metrics.per_query import chance_metrics, summarize
from bimcvr.metrics.ranking.ranks import DIRECTIONS, right_answers

SUBSETS = 200
"""Random subsets of the whole split, each as large as its sound part."""


def raw_against_audited(
    runs: Sequence[Embeddings], gallery: Gallery, ks: Sequence[int], resampling: Resampling, rule: str = "report"
) -> dict[str, Any]:
    """Score the whole split, its rows without flags, and random subsets of the whole split of that size.

    The sound part is a smaller gallery, in which everything is easier to find. The random subsets have the same size,
    so what remains of the difference is the effect of the flagged rows.

    Args:
        runs: The embeddings of one method in one or several runs, with the gallery's rows in its order.
        gallery: The rows of the split; its `flagged` and `elsewhere` decide.
        ks: The K of R@K.
        resampling: How intervals and random subsets are drawn.
        rule: Which answers are right: a key of `metrics.ranking.ranks.RULES`.

    Returns:
        `whole`, `sound` and `whole_cut` (the random subsets), each with n, metrics, intervals (of the subsets: 2.5 and
        97.5 % of them) and chance; and the noise `ceiling` of the whole split and of the sound rows.
    """
    everything = list(range(len(gallery.rows)))
    sound = [position for position in everything if not gallery.flagged[position]]
    parts = {name: part for name, part in (("whole", everything), ("sound", sound)) if part}
    block: dict[str, Any] = {name: _part(runs, gallery, part, ks, resampling, rule) for name, part in parts.items()}
    if 0 < len(sound) < len(everything):
        block["whole_cut"] = _random_subsets(runs, gallery, len(sound), ks, resampling, rule)
    block["ceiling"] = {name: noise_ceiling_metrics(gallery.only(part), ks, rule) for name, part in parts.items()}
    block["flagged"], block["elsewhere"] = int(gallery.flagged.sum()), int(gallery.elsewhere.sum())
    return block


def _part(
    runs: Sequence[Embeddings],
    gallery: Gallery,
    positions: list[int],
    ks: Sequence[int],
    resampling: Resampling,
    rule: str,
) -> dict[str, Any]:
    rows = gallery.only(positions)
    values = mean_per_query_values([run.only(positions) for run in runs], rows, ks, rule)
    return {
        "n": len(positions),
        "metrics": {direction: summarize(values[direction]) for direction in DIRECTIONS},
        "intervals": {
            direction: bootstrap_intervals(values[direction], rows.patient, resampling.seed, resampling.resamples)
            for direction in DIRECTIONS
        },
        "chance": chance_metrics(right_answers(rows, rule), ks),
    }


def _random_subsets(
    runs: Sequence[Embeddings], gallery: Gallery, size: int, ks: Sequence[int], resampling: Resampling, rule: str
) -> dict[str, Any]:
    generator = np.random.default_rng(resampling.seed)
    subsets, chances = [], []
    for _ in track(range(SUBSETS), description="random subsets of the split"):
        positions = np.sort(generator.choice(len(gallery.rows), size, replace=False)).tolist()
        rows = gallery.only(positions)
        values = mean_per_query_values([run.only(positions) for run in runs], rows, ks, rule)
        subsets.append({direction: summarize(values[direction]) for direction in DIRECTIONS})
        chances.append(chance_metrics(right_answers(rows, rule), ks))
    columns = {
        direction: {name: np.array([subset[direction][name] for subset in subsets]) for name in subsets[0][direction]}
        for direction in DIRECTIONS
    }
    return {
        "n": size,
        "cuts": SUBSETS,
        "metrics": {
            direction: {name: float(column.mean()) for name, column in columns[direction].items()}
            for direction in DIRECTIONS
        },
        "intervals": {
            direction: {name: np.quantile(column, BOUNDS).tolist() for name, column in columns[direction].items()}
            for direction in DIRECTIONS
        },
        "chance": {name: float(np.mean([chance[name] for chance in chances])) for name in chances[0]},
    }
