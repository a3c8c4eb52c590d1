"""What scores an index's own studies reach: a query that stays below is doubted."""

from typing import Any

import numpy as np

from bimcvr.metrics.embeddings import Prompts
from bimcvr.search.index import Index
from bimcvr.search.scan import Vectors, unit_vector

SAMPLE = 500
"""Studies at equal steps whose best scores are taken: enough for a percentile of one."""

LOWEST = 1.0
"""The percentile below which a query's best score is doubted."""


def calibrate(index: Index, prompts: Prompts | None) -> dict[str, Any]:
    """Measure, for each kind of query and what is ranked, the best scores that this index's own reach.

    Returns:
        `KIND_INTO` → `lowest` (the first percentile), `median`, `of` (how many were asked) and `what` they are: reports asked for
        volumes and reports, volumes asked for other volumes and for reports, prompts of the labels that studies bear asked for volumes.
    """
    if len(index) < 2:
        return {}
    places = np.unique(np.linspace(0, len(index) - 1, min(SAMPLE, len(index)), dtype=np.int64))
    texts, images = (vectors.values[vectors.slot[places]] for vectors in (index.text, index.image))
    found = {
        "text_image": _measured(index.image, texts, "reports"),
        "text_report": _measured(index.text, texts, "reports", places),
        "volume_image": _measured(index.image, images, "volumes", places),
        "volume_report": _measured(index.text, images, "volumes"),
    }
    asked = [label for label in prompts.labels if label in index.label_counts()] if prompts else []
    if prompts and asked:
        queries = np.stack([np.mean([unit_vector(v) for v in prompts.affirming(label).numpy()], axis=0) for label in asked])
        found["keyword_image"] = _measured(index.image, queries, "keywords")
    return found


def _measured(vectors: Vectors, queries: np.ndarray, what: str, own: np.ndarray | None = None) -> dict[str, Any]:
    """`own` are the queries' own places, whose scores say nothing where a stream asks itself."""
    best = vectors.top(queries, 2)
    scores = []
    for number, top in enumerate(best):
        others = [score for place, score in zip(top.place, top.score, strict=True) if own is None or place != own[number]]
        scores.append(others[0])
    return {"lowest": round(float(np.percentile(scores, LOWEST)), 4), "median": round(float(np.median(scores)), 4), "of": len(scores),
            "what": what}
