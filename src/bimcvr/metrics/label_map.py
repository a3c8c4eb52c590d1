"""mAP@K and Jaccard@K: is what is found alike in its findings, for text → image, image → text and image → image?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap, patient_numbers
from bimcvr.metrics.metric_family import Figures, Scored
from bimcvr.metrics.prompts import NO_FINDING
from bimcvr.metrics.tie_blocks import Blocks, blocks, random_order
from bimcvr.metrics.unit_vectors import UnitVectors

KS = (5, 10, 50)
DEFINITION = (
    "Relevant is an item that shares at least one finding label with the query ("
    + ", ".join(NO_FINDING)
    + " do not count). mAP@K: the sum of P@i over the places i <= K of relevant items, divided by the smaller of K and"
    " the number of relevant items in the gallery; its mean over the queries that have a finding and a relevant item."
    " Jaccard@K: the mean over the first K of |shared labels| / |labels of either|. Text to image and image to text"
    " keep the query's own study in the gallery; image to image leaves all volumes of the query's patient out. Ties"
    " in expectation."
)


def label_relevance(
    image: Tensor,
    text: Tensor,
    labels: Sequence[frozenset[str]],
    patients: Sequence[str],
    ks: Sequence[int] = KS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scored:
    """Return mAP@K and Jaccard@K by way, in percent, with their chance levels; draws resample the queries' patients.

    Args:
        image: (N, E) floating point.
        text: (N, E), row i belongs to row i of `image`.
        labels: N sets of labels.
        patients: N patient ids.
        ks: the K; a K above the gallery is left out.
        seed: of the draws.
        resamples: their number.

    Returns:
        `{"text_to_image": {"mAP@5": …, "Jaccard@5": …, "chance_mAP@5": …, "queries": …}, …}`; a way without a single
        query is absent.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(image.detach(), "image", cpu), UnitVectors(text.detach(), "text", cpu)
    shown = _table(labels)
    patient = patient_numbers(patients)
    others = len(image) - int(torch.bincount(patient).max())
    ways = {
        "text_to_image": (texts, images, None),
        "image_to_text": (images, texts, None),
        "image_to_image": (images, images, patient),
    }
    figures: Figures = {}
    drawn: dict[str, dict[str, Tensor]] = {}
    for way, (query, gallery, left_out) in ways.items():
        size = len(image) if left_out is None else others
        rows, found, level = _way(query, gallery, shown, left_out, [k for k in ks if k <= size])
        if not found:
            continue
        of = [patients[row] for row in rows.tolist()]
        levels = {f"chance_{name}": values.mean().item() for name, values in level.items()}
        figures[way] = {
            **{name: values.mean().item() for name, values in found.items()},
            **levels,
            "queries": len(rows),
        }
        drawn[way] = bootstrap(found, of, seed, resamples)
    return Scored(figures, drawn)


def _way(
    query: UnitVectors, gallery: UnitVectors, shown: Tensor, patient: Tensor | None, ks: Sequence[int]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return the rows that are queries (Q,), and by name what each adds to a figure and to its chance level, (Q,).

    With `patient` (N,) the volumes of the query's patient are left out of its gallery.
    """
    count = shown.sum(1)
    rows, found, level = [], [], []
    items = gallery.exact(slice(None))
    for part in torch.split(torch.arange(len(shown)), 256):
        shared = shown[part] @ shown.T
        there = (
            torch.ones_like(shared, dtype=torch.bool) if patient is None else patient[part, None] != patient[None, :]
        )
        asked = (count[part] > 0) & ((shared > 0) & there).any(1)
        part, shared, there = part[asked], shared[asked], there[asked]
        if not len(part):
            continue
        jaccard = shared / (count[part, None] + count[None, :] - shared)
        size = there.sum(1)
        score = query.exact(part) @ items.T
        relevant = ((shared > 0) & there).double()
        graded = blocks(score, jaccard, there)
        binary = Blocks(graded.size, blocks(score, relevant, there).relevant)
        found.append(_figures(binary, graded, ks))
        level.append(_figures(random_order(size, relevant.sum(1)), random_order(size, (jaccard * there).sum(1)), ks))
        rows.append(part)
    if not rows:
        return torch.empty(0, dtype=torch.long), {}, {}
    joined, levels = (
        {name: torch.cat([part[name] for part in parts]) for name in parts[0]} for parts in (found, level)
    )
    return torch.cat(rows), joined, levels


def _figures(binary: Blocks, graded: Blocks, ks: Sequence[int]) -> dict[str, Tensor]:
    return {
        **{f"mAP@{k}": 100 * binary.average_precision(k) for k in ks},
        **{f"Jaccard@{k}": 100 * graded.precision(k) for k in ks},
    }


def _table(labels: Sequence[frozenset[str]]) -> Tensor:
    """Return which row bears which finding, (N, L) float64."""
    names = sorted(set().union(*labels) - set(NO_FINDING))
    place = {name: i for i, name in enumerate(names)}
    table = torch.zeros(len(labels), max(1, len(names)), dtype=torch.float64)
    for row, of in enumerate(labels):
        for name in of & place.keys():
            table[row, place[name]] = 1
    return table
