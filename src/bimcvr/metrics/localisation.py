"""Does a map of relevance agree with the place of a finding? The pointing game, and the share of the map's mass inside.

Pointing game: Zhang et al. 2018 (IJCV 126:1084), whose tolerance is here one token, since a map is no finer than that.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bimcvr.contracts import LOCATED, Located
from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_draws
from bimcvr.metrics.metric_family import MetricFamily, MetricValues

ALL, LARGE = "all findings", "findings of 2 tokens or more"
TIED = 1e-6
"""Values of a map no further apart than this share of its largest are tied."""

DEFINITION = (
    "Pointing: the highest voxel of the map of a finding's prompts lies inside the finding, grown by one token; ties"
    " count in expectation. Mass: the share of the map above 0 that lies inside the finding. Both within the body."
    " Chance is the share of the body that the region takes, which a constant map scores; 'another query' is the same"
    " region under the map of a finding that the study does not have. Findings of 2 tokens or more have a place whose"
    " volume is that of a ball at least as wide as two cubes of a token's volume."
)


def region_scores(values: np.ndarray, body: np.ndarray, inside: np.ndarray, grown: np.ndarray) -> tuple[float, float]:
    """Return how a map agrees with a region: the shares of its highest voxels in it, and of its mass.

    Args:
        values: (D, H, W), the map.
        body: (D, H, W) bool; nothing else is looked at.
        inside: (D, H, W), the share of each voxel that the finding fills, 0 to 1.
        grown: (D, H, W) bool, the finding and what is no further from it than one token.

    Returns:
        Pointing, the share of the tied highest voxels that lie in `grown`, and mass: the share of the values above 0
        that lies `inside`. A map without a value above 0 says nothing, and has the mass of a constant one.
    """
    seen, target = values[body].astype(np.float64), inside[body]
    top = seen >= seen.max() - TIED * float(np.abs(seen).max())
    weight = np.clip(seen, 0, None)
    if not weight.any():
        weight = np.ones_like(seen)
    return float(grown[body][top].mean()), float((weight * target).sum() / weight.sum())


def chance_scores(body: np.ndarray, inside: np.ndarray, grown: np.ndarray) -> tuple[float, float]:
    """Return pointing and mass of a constant map: the shares of the body that both regions take."""
    return float(grown[body].mean()), float(inside[body].mean())


def localisation_metrics(
    located: Located,
    patients: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MetricFamily:
    """Return pointing and mass for each finding and over all, in percent.

    Args:
        located: M pairs of a study and a finding.
        patients: M patient ids, of the studies.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        The means over all pairs, over those whose finding is at least two tokens wide, and of each finding:
        `{"nodule": {"pointing": percent, "chance_pointing": …, "other_pointing": …, "mass": …, "studies": …}, …}`; the
        draws of pointing and mass, under the query and under another one, resample patients.
    """
    scores = 100 * torch.from_numpy(np.asarray(located.scores, dtype=np.float64))
    values: MetricValues = {}
    draws: dict[str, dict[str, Tensor]] = {}
    names = sorted(set(located.finding))
    rows_of = {name: [row for row, finding in enumerate(located.finding) if finding == name] for name in names}
    large = np.flatnonzero(located.diameter >= 2).tolist()
    whole = {ALL: list(range(len(located.finding)))} if len(names) > 1 else {}
    for name, rows in {**whole, **({LARGE: large} if large else {}), **rows_of}.items():
        columns = dict(zip(LOCATED, scores[rows].unbind(1), strict=True))
        # a study that has every finding has no other query
        means = {column: float(table[~table.isnan()].mean()) for column, table in columns.items()}
        values[name] = {
            **{column: mean for column, mean in means.items() if not np.isnan(mean)},
            "studies": len({located.study_id[row] for row in rows}),
        }
        drawn = {column: columns[column] for column in ("pointing", "mass")}
        draws[name] = bootstrap_draws(drawn, [patients[row] for row in rows], seed, resamples)
    return MetricFamily(values, draws)
