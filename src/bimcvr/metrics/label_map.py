"""mAP@K and Jaccard@K: do retrieved studies share the query's findings? Text → image, image → text, image → image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_draws, patient_numbers
from bimcvr.metrics.metric_family import MetricFamily, MetricValues
from bimcvr.metrics.prompts import NO_FINDING
from bimcvr.metrics.tie_blocks import Blocks, ordered_blocks, random_order
from bimcvr.metrics.unit_vectors import UnitVectors

KS = (5, 10, 50)
DEFINITION = (
    "Relevant is an item that shares at least one finding label with the query ("
    + ", ".join(NO_FINDING)
    + " do not count). mAP@K: the sum of P@i over the positions i <= K of relevant items, divided by the smaller of K"
    " and the number of relevant items in the gallery; its mean over the queries that have a finding and a relevant"
    " item."
    " Jaccard@K: the mean over the first K of |shared labels| / |labels of either|. Text to image and image to text"
    " keep the query's own study in the gallery; image to image leaves all volumes of the query's patient out. Ties"
    " in expectation."
)


def label_relevance_metrics(
    image: Tensor,
    text: Tensor,
    labels: Sequence[frozenset[str]],
    patients: Sequence[str],
    ks: Sequence[int] = KS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MetricFamily:
    """Return mAP@K and Jaccard@K by direction, in percent, with their chance levels.

    Args:
        image: (N, E) floating point.
        text: (N, E), row i belongs to row i of `image`.
        labels: N sets of labels.
        patients: N patient ids; the draws resample the queries' patients.
        ks: The K of both; a K above the gallery is left out.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        `{"text_to_image": {"mAP@5": …, "Jaccard@5": …, "chance_mAP@5": …, "queries": …}, …}`; a direction without
        a query is absent.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(image.detach(), "image", cpu), UnitVectors(text.detach(), "text", cpu)
    has_label = _label_table(labels)
    patient = patient_numbers(patients)
    smallest = len(image) - int(torch.bincount(patient).max())
    directions = {
        "text_to_image": (texts, images, None),
        "image_to_text": (images, texts, None),
        "image_to_image": (images, images, patient),
    }
    values: MetricValues = {}
    draws: dict[str, dict[str, Tensor]] = {}
    for direction, (query, gallery, excluded) in directions.items():
        size = len(image) if excluded is None else smallest
        rows, metrics, chance = _score_direction(query, gallery, has_label, excluded, [k for k in ks if k <= size])
        if not metrics:
            continue
        values[direction] = {
            **{name: column.mean().item() for name, column in metrics.items()},
            **{f"chance_{name}": column.mean().item() for name, column in chance.items()},
            "queries": len(rows),
        }
        draws[direction] = bootstrap_draws(metrics, [patients[row] for row in rows.tolist()], seed, resamples)
    return MetricFamily(values, draws)


def _score_direction(
    query: UnitVectors, gallery: UnitVectors, has_label: Tensor, patient: Tensor | None, ks: Sequence[int]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return the rows that are queries (Q,), their per-query values and those of chance, (Q,) by name.

    With `patient` (N,) the volumes of the query's patient are left out of its gallery.
    """
    count = has_label.sum(1)
    rows, metrics, chance = [], [], []
    items = gallery.exact(slice(None))
    for part in torch.split(torch.arange(len(has_label)), 256):
        shared = has_label[part] @ has_label.T
        present = (
            torch.ones_like(shared, dtype=torch.bool) if patient is None else patient[part, None] != patient[None, :]
        )
        scorable = (count[part] > 0) & ((shared > 0) & present).any(1)
        part, shared, present = part[scorable], shared[scorable], present[scorable]
        if not len(part):
            continue
        jaccard = shared / (count[part, None] + count[None, :] - shared)
        size = present.sum(1)
        score = query.exact(part) @ items.T
        relevant = ((shared > 0) & present).double()
        graded = ordered_blocks(score, jaccard, present)
        binary = Blocks(graded.size, ordered_blocks(score, relevant, present).relevant)
        metrics.append(_metrics(binary, graded, ks))
        random_binary = random_order(size, relevant.sum(1))
        chance.append(_metrics(random_binary, random_order(size, (jaccard * present).sum(1)), ks))
        rows.append(part)
    if not rows:
        return torch.empty(0, dtype=torch.long), {}, {}
    return torch.cat(rows), _joined(metrics), _joined(chance)


def _metrics(binary: Blocks, graded: Blocks, ks: Sequence[int]) -> dict[str, Tensor]:
    return {
        **{f"mAP@{k}": 100 * binary.average_precision(k) for k in ks},
        **{f"Jaccard@{k}": 100 * graded.precision(k) for k in ks},
    }


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _label_table(labels: Sequence[frozenset[str]]) -> Tensor:
    """Return which row has which finding, (N, L) float64."""
    names = sorted(set().union(*labels) - set(NO_FINDING))
    column = {name: i for i, name in enumerate(names)}
    table = torch.zeros(len(labels), max(1, len(names)), dtype=torch.float64)
    for row, row_labels in enumerate(labels):
        for name in row_labels & column.keys():
            table[row, column[name]] = 1
    return table
