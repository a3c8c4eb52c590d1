"""From embeddings to the figures of a result: metrics, intervals, chance, ties."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.metrics.intervals import intervals
from bimcvr.metrics.keyword import keyword_precision
from bimcvr.metrics.ranks import Ranks, rank_both
from bimcvr.metrics.retrieval import chance, figures

RECALL_AT = (1, 5, 10)
PRECISION_AT = (20, 50, 100)
RULE = ("one right answer for all rows of a report: same report_id, or same normalised text of at least five words "
        "without a flag against it; ties in expectation over a random order")


def build_result(
    image: Tensor, text: Tensor, gallery: Gallery, prompts: Sequence[tuple[str, str]] = (), prompt: Tensor | None = None,
) -> dict[str, Any]:
    """Score both directions and the keywords.

    Args:
        image: (N, E) float32.
        text: (N, E) float32.
        gallery: the N rows.
        prompts: P pairs of a label and the sentence that asks for it.
        prompt: (P, E) float32; without it keyword figures are absent, and a line says why.

    Returns:
        `metrics`, `intervals` (95 %, by patient) and `chance` by direction; counts of queries, ties and several right
        answers; the rule. R@K and P@K are in percent.

    Raises:
        UserError: an embedding is not finite.
    """
    group = torch.as_tensor(gallery.group)
    ks = [k for k in RECALL_AT if k <= len(group)]
    ways = dict(zip(("text_to_image", "image_to_text"), rank_both(image, text, group), strict=True))
    keyword, note = _keywords(image, gallery, prompts, prompt)
    return {
        "metrics": {**{way: figures(ranks, ks) for way, ranks in ways.items()}, "keyword": keyword},
        "intervals": {way: intervals(ranks, gallery.patient, ks) for way, ranks in ways.items()},
        "chance": chance(group, ks),
        "n_queries": len(group),
        "n_gallery": len(group),
        "n_patients": len(set(gallery.patient)),
        "queries_with_several_right_answers": int((torch.bincount(group)[group] > 1).sum()),
        "queries_with_ties": {way: _tied(ranks) for way, ranks in ways.items()},
        "rule": RULE,
        "keyword_note": note,
    }


def _keywords(
    image: Tensor, gallery: Gallery, prompts: Sequence[tuple[str, str]], prompt: Tensor | None
) -> tuple[dict[str, dict[str, float]], str]:
    if prompt is None:
        return {}, "keyword figures are absent: the embeddings hold no prompts"
    if not any(gallery.labels):
        return {}, "keyword figures are absent: the manifest has no labels"
    labels = list(dict.fromkeys(label for label, _ in prompts))
    unit = torch.nn.functional.normalize(prompt.double(), dim=-1)
    asked = np.array([label for label, _ in prompts])
    query = torch.stack([unit[torch.from_numpy(asked == label)].mean(0) for label in labels])
    relevant = torch.tensor([[label in row for row in gallery.labels] for label in labels])
    ks = [k for k in PRECISION_AT if k <= len(image)]
    return dict(zip(labels, keyword_precision(query, image, relevant, ks), strict=True)), ""


def _tied(ranks: Ranks) -> int:
    return int((ranks.tied_wrong > 0).sum())
