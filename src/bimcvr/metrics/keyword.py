"""Prompts as queries: P@K, AP and lift of a keyword; ties count in expectation."""

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
    scores = cosines(
        image,
        {label: mean_direction(prompts.affirming(label)) for label in prompts.labels if bool(relevant[label].any())},
    )

    def measure(order: Blocks) -> dict[str, Tensor]:
        share = order.relevant.sum(1) / order.size.sum(1)
        precision = {k: order.precision(k) for k in ks}
        return {
            **{f"P@{k}": 100 * value for k, value in precision.items()},
            "AP": 100 * order.average_precision(),
            **{f"lift@{k}": value / share for k, value in precision.items()},
        }

    family = with_draws(scores, relevant, patients, measure, seed, resamples)
    for label, values in family.values.items():
        count = relevant[label].sum()[None]
        values["prevalence"] = 100 * count.item() / len(image)
        values["chance_AP"] = 100 * random_order(torch.tensor([len(image)]), count).average_precision().item()
    return family


def with_draws(
    scores: Mapping[str, Tensor],
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    measure: Callable[[Blocks], dict[str, Tensor]],
    seed: int,
    resamples: int,
) -> MetricFamily:
    """Measure the order of the images by each label's scores, and that of resamples of their patients.

    Args:
        scores: For each label (N,), one score an image.
        relevant: For each label (N,) bool, which images have it.
        patients: N patient ids.
        measure: From an order to its metrics by name.
        seed: Seed of the draws.
        resamples: Number of draws.
    """
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


def mean_direction(vectors: Tensor) -> Tensor:
    """Return the mean of unit vectors (n, E) → (E,), float64."""
    return normalize(vectors.double(), dim=-1).mean(0)


def cosines(image: Tensor, queries: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
