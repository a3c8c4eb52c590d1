"""Is a finding present? AUROC of its prompts as a classifier that has seen no label; ties count in expectation."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from bimcvr.contracts import Prompts
from bimcvr.metrics.bootstrap import RESAMPLES
from bimcvr.metrics.keyword import cosines, mean_direction, with_draws
from bimcvr.metrics.metric_family import MetricFamily
from bimcvr.metrics.ranking.tie_blocks import ordered_blocks

ZeroShotScore = Literal["affirming", "pair"]

ZERO_SHOT_SCORES: dict[ZeroShotScore, str] = {
    "affirming": "the cosine of the volume with the affirming sentences",
    "pair": "the cosine of the volume with the affirming sentences minus that with the denying ones",
}
"""How a volume is scored for a finding."""


def zero_shot_metrics(
    image: Tensor,
    prompts: Prompts,
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
    score: ZeroShotScore = "pair",
) -> MetricFamily:
    """Classify every finding by its prompts.

    Args:
        image: (N, E) floating point.
        prompts: The prompts, affirming and denying.
        relevant: For each label (N,) bool, which images have it.
        patients: N patient ids; the intervals resample the gallery's patients.
        seed: Seed of the draws.
        resamples: Number of draws.
        score: A key of `ZERO_SHOT_SCORES`.

    Returns:
        For each label with prompts of both kinds that some but not all images have: `AUROC` (0 to 1, chance 0.5) by the
        score, and `AUROC_<name>` by each of the scores. A resample without both kinds of images is left out of the
        interval.

    Raises:
        UserError: An embedding is not finite or has length zero.
    """
    by_score = _zero_shot_scores(image, prompts, relevant)
    families = {
        name: with_draws(
            scores, relevant, patients, lambda order: {"AUROC": order.auroc()}, seed, resamples if name == score else 0
        )
        for name, scores in by_score.items()
    }
    values = {
        label: {
            **of,
            **{f"AUROC_{name}": family.values[label]["AUROC"] for name, family in families.items()},
        }
        for label, of in families[score].values.items()
    }
    return MetricFamily(values, families[score].draws)


def macro_average(zero_shot: MetricFamily) -> MetricFamily:
    """Return the mean of zero-shot figures over the labels, each counting once, as the subject `labels`.

    A resample where a label has no figure counts the others.

    Args:
        zero_shot: what `zero_shot_metrics` returned, with at least one label.
    """
    per_label = list(zero_shot.values.values())
    values = {name: sum(of[name] for of in per_label) / len(per_label) for name in per_label[0]}
    drawn = torch.stack([draws["AUROC"] for draws in zero_shot.draws.values()])
    return MetricFamily({"labels": {**values, "count": float(len(per_label))}}, {"labels": {"AUROC": drawn.nanmean(0)}})


def best_zero_shot_score(
    image: Tensor, prompts: Prompts, relevant: Mapping[str, Tensor]
) -> tuple[ZeroShotScore, dict[ZeroShotScore, float]] | None:
    """Return the score with the highest mean AUROC over the labels, and that mean of each; None where no label has one.

    Equal means give the affirming sentences alone. To be asked of `val`, never of the rows that are then scored.

    Args:
        image: (N, E) floating point.
        prompts: The prompts, affirming and denying.
        relevant: For each label (N,) bool, which images have it.
    """
    by_score = _zero_shot_scores(image, prompts, relevant)
    means = {
        name: sum(ordered_blocks(score[None], relevant[label][None]).auroc().item() for label, score in scores.items())
        / len(scores)
        for name, scores in by_score.items()
        if scores
    }
    return (max(by_score, key=means.__getitem__), means) if means else None


def _zero_shot_scores(
    image: Tensor, prompts: Prompts, relevant: Mapping[str, Tensor]
) -> dict[ZeroShotScore, dict[str, Tensor]]:
    paired = [
        label for label in prompts.labels if prompts.has_pair(label) and 0 < int(relevant[label].sum()) < len(image)
    ]
    yes = cosines(image, {label: mean_direction(prompts.affirming(label)) for label in paired})
    no = cosines(image, {label: mean_direction(prompts.denying(label)) for label in paired})
    return {"affirming": yes, "pair": {label: yes[label] - no[label] for label in paired}}
