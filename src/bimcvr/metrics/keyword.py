"""Prompts as queries: P@K, AP and lift of a keyword, AUROC of a zero-shot finding; ties in expectation."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import Prompts
from bimcvr.metrics.bootstrap import RESAMPLES, draws, patient_numbers
from bimcvr.metrics.metric_family import Scored
from bimcvr.metrics.tie_blocks import Blocks, blocks, random_order, resampled
from bimcvr.metrics.unit_vectors import UnitVectors

KS = (20, 50, 100)
"""The K of P@K in the paper's keyword table."""


def keyword_figures(
    image: Tensor,
    prompts: Prompts,
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    ks: Sequence[int] = KS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scored:
    """Score every label's query: the mean of its sentences' unit vectors, with the images as gallery.

    Args:
        image: (N, E) floating point.
        prompts: the sentences; those that deny a label are left out.
        relevant: for each label (N,) bool, which images bear it.
        patients: N patient ids; the intervals resample the gallery's patients.
        ks: the K of P@K; a K above N is left out.
        seed: of the draws.
        resamples: their number.

    Returns:
        For each label that a prompt asks for and an image bears: P@K and AP in percent, lift@K (P@K / prevalence), the
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

    scored = _with_draws(scores, relevant, patients, measure, seed, resamples)
    for label, figures in scored.figures.items():
        count = relevant[label].sum()[None]
        figures["prevalence"] = 100 * count.item() / len(image)
        figures["chance_AP"] = 100 * random_order(torch.tensor([len(image)]), count).average_precision().item()
    return scored


def zero_shot_figures(
    image: Tensor,
    prompts: Prompts,
    relevant: Mapping[str, Tensor],
    patients: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scored:
    """Classify every finding by a pair of prompts: the score is cos(image, "there is") − cos(image, "there is no").

    Returns:
        For each label with prompts of both kinds that some but not all images bear: AUROC (0 to 1, chance 0.5). A
        resample of the gallery's patients without both kinds of images is left out of the interval.

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
) -> Scored:
    patient = patient_numbers(patients)
    found = {
        label: {name: value.item() for name, value in measure(blocks(score[None], relevant[label][None])).items()}
        for label, score in scores.items()
    }
    drawn: dict[str, list[dict[str, Tensor]]] = {label: [] for label in scores}
    for times in draws(int(patient.max()) + 1, seed, resamples) if scores else ():
        of_items = times[:, patient]
        for label, score in scores.items():
            drawn[label].append(measure(resampled(score, relevant[label], of_items)))
    return Scored(found, {label: _joined(parts) for label, parts in drawn.items()})


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _mean(vectors: Tensor) -> Tensor:
    return normalize(vectors.double(), dim=-1).mean(0)


def _scores(image: Tensor, queries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return for each query its cosines (N,) with all images, in float64 on the CPU."""
    if not queries:
        return {}
    cpu = torch.device("cpu")
    images = UnitVectors(image.detach(), "image", cpu).exact(slice(None))
    asked = UnitVectors(torch.stack(list(queries.values())), "prompt", cpu)
    return dict(zip(queries, asked.exact(slice(None)) @ images.T, strict=True))


def relevance(labels: Sequence[frozenset[str]], wanted: Sequence[str]) -> dict[str, Tensor]:
    """Return for each wanted label which rows bear it, (N,) bool."""
    return {label: torch.tensor([label in row for row in labels], dtype=torch.bool) for label in wanted}
