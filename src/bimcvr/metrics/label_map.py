"""mAP@K and Jaccard@K: do retrieved studies share the query's findings? Text → image, image → text, image → image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_draws, patient_numbers
from bimcvr.metrics.label_overlap import GalleryTotals, gallery_totals, label_overlap
from bimcvr.metrics.metric_family import MetricFamily, MetricValues
from bimcvr.metrics.prompts import NO_FINDING
from bimcvr.metrics.ranking.best_items import best_items
from bimcvr.metrics.ranking.tie_blocks import Blocks, ordered_blocks, random_order
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

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
    everything = gallery_totals(has_label, None)
    directions = {
        "text_to_image": (texts, images, None, everything),
        "image_to_text": (images, texts, None, everything),
        "image_to_image": (images, images, patient, gallery_totals(has_label, patient)),
    }
    values: MetricValues = {}
    draws: dict[str, dict[str, Tensor]] = {}
    for direction, (query, gallery, excluded, totals) in directions.items():
        size = len(image) if excluded is None else smallest
        fitting = [k for k in ks if k <= size]
        rows, metrics, chance = _score_direction(query, gallery, has_label, excluded, totals, fitting)
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
    query: UnitVectors,
    gallery: UnitVectors,
    has_label: Tensor,
    patient: Tensor | None,
    totals: GalleryTotals,
    ks: Sequence[int],
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return the rows that are queries (Q,), their per-query values and those of chance, (Q,) by name.

    With `patient` (N,) the volumes of the query's patient are left out of its gallery.
    """
    rows = ((has_label.sum(1) > 0) & (totals.relevant > 0)).nonzero().flatten()
    if not len(rows) or not ks:
        return rows, {}, {}
    metrics, parts = [], []
    for part, items, score, present in best_items(query, gallery, rows, patient, max(ks)):
        relevant, overlap = (of_pair.squeeze(1) for of_pair in label_overlap(has_label[part, None], has_label[items]))
        gallery_of_part = totals.of(part)
        binary = ordered_blocks(score, relevant, present).with_rest(gallery_of_part.size, gallery_of_part.relevant)
        graded = ordered_blocks(score, overlap, present).with_rest(gallery_of_part.size, gallery_of_part.overlap)
        metrics.append(_metrics(binary, graded, ks))
        parts.append(part)
    order = torch.cat(parts).argsort()
    chosen = totals.of(rows)
    chance = _metrics(random_order(chosen.size, chosen.relevant), random_order(chosen.size, chosen.overlap), ks)
    return rows, {name: column[order] for name, column in _joined(metrics).items()}, chance


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
