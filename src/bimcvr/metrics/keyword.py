"""Prompts as queries: P@K, AP and lift of a keyword, AUROC of a zero-shot finding; ties count in expectation."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import Prompts
from bimcvr.metrics.bootstrap import RESAMPLES, patient_draws, patient_numbers
from bimcvr.metrics.metric_family import MetricFamily
from bimcvr.metrics.ranking.tie_blocks import Blocks, ordered_blocks, random_order, resampled_blocks
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

KS = (20, 50, 100)
"""The K of P@K in the paper's keyword table."""


def keyword_metrics(
    image: Tensor,
    prompts: Prompts,
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    ks: Sequence[int] = KS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MetricFamily:
    """Score every label as a query (the mean of its prompts' unit vectors) with the images as gallery.

    Args:
        image: (N, E) floating point.
        prompts: The prompts; those that deny a label are left out.
        relevant: For each label (N,) bool, which images have it.
        patients: N patient ids; the intervals resample the gallery's patients.
        ks: The K of P@K; a K above N is left out.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        For each label that has a prompt and that an image has: P@K and AP in percent, lift@K (P@K / prevalence), the
        `prevalence` in percent, which is the chance level of P@K, and `chance_AP`, that of AP.

    Raises:
        UserError: An embedding is not finite or has length zero.
    """
    ks = [k for k in ks if k <= len(image)]
    scores = _scores(
        image, {label: _mean(prompts.affirming(label)) for label in prompts.labels if bool(relevant[label].any())}
    )

    def measure(order: Blocks) -> dict[str, Tensor]:
        share = order.relevant.sum(1) / order.size.sum(1)
        precision = {k: order.precision(k) for k in ks}
        return {
            **{f"P@{k}": 100 * value for k, value in precision.items()},
            "AP": 100 * order.average_precision(),
            **{f"lift@{k}": value / share for k, value in precision.items()},
        }

    family = _with_draws(scores, relevant, patients, measure, seed, resamples)
    for label, values in family.values.items():
        count = relevant[label].sum()[None]
        values["prevalence"] = 100 * count.item() / len(image)
        values["chance_AP"] = 100 * random_order(torch.tensor([len(image)]), count).average_precision().item()
    return family


def zero_shot_metrics(
    image: Tensor,
    prompts: Prompts,
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MetricFamily:
    """Classify every finding by a pair of prompts: the score is cos(image, "there is") − cos(image, "there is no").

    Args:
        image: (N, E) floating point.
        prompts: The prompts, affirming and denying.
        relevant: For each label (N,) bool, which images have it.
        patients: N patient ids; the intervals resample the gallery's patients.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        For each label with prompts of both kinds that some but not all images have: AUROC (0 to 1, chance 0.5). A
        resample without both kinds of images is left out of the interval.

    Raises:
        UserError: An embedding is not finite or has length zero.
    """
    paired = [
        label for label in prompts.labels if prompts.has_pair(label) and 0 < int(relevant[label].sum()) < len(image)
    ]
    yes = _scores(image, {label: _mean(prompts.affirming(label)) for label in paired})
    no = _scores(image, {label: _mean(prompts.denying(label)) for label in paired})
    margins = {label: yes[label] - no[label] for label in paired}
    return _with_draws(margins, relevant, patients, lambda order: {"AUROC": order.auroc()}, seed, resamples)


def _with_draws(
    scores: Mapping[str, Tensor],
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    measure: Callable[[Blocks], dict[str, Tensor]],
    seed: int,
    resamples: int,
) -> MetricFamily:
    patient = patient_numbers(patients)
    measured = {label: measure(ordered_blocks(score[None], relevant[label][None])) for label, score in scores.items()}
    values = {label: {name: value.item() for name, value in metrics.items()} for label, metrics in measured.items()}
    draws: dict[str, list[dict[str, Tensor]]] = {label: [] for label in scores}
    for times in patient_draws(int(patient.max()) + 1, seed, resamples) if scores else ():
        item_times = times[:, patient]
        for label, score in scores.items():
            draws[label].append(measure(resampled_blocks(score, relevant[label], item_times)))
    return MetricFamily(values, {label: _joined(parts) for label, parts in draws.items()})


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _mean(vectors: Tensor) -> Tensor:
    return normalize(vectors.double(), dim=-1).mean(0)


def _scores(image: Tensor, queries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each query's cosines (N,) with all images, in float64 on the CPU."""
    if not queries:
        return {}
    cpu = torch.device("cpu")
    images = UnitVectors(image.detach(), "image", cpu).exact(slice(None))
    vectors = UnitVectors(torch.stack(list(queries.values())), "prompt", cpu)
    return dict(zip(queries, vectors.exact(slice(None)) @ images.T, strict=True))


def rows_with_label(labels: Sequence[frozenset[str]], wanted: Sequence[str]) -> dict[str, Tensor]:
    """Return for each wanted label which rows have it, (N,) bool."""
    return {label: torch.tensor([label in row for row in labels], dtype=torch.bool) for label in wanted}
