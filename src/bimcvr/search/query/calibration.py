"""The scores that an index's own studies and sentences reach, to compare a query's best score with."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.data.text.sentences import split_sentences
from bimcvr.search.index.exact_search import Vectors, unit_vector
from bimcvr.search.index.reader import Index

SAMPLE = 500
"""How many studies, and how many sentences, are searched with: every so-manyth; enough for the first percentile."""

OUTSIDE = 1.0
"""The percentile below which a query's best score gets a note."""

ENOUGH = 100
"""How many queries of its own an index needs for that: fewer have no first percentile."""

BEYOND = 1.5
"""How many times the 99th percentile over sentences a text vector's length may be before the text gets a note.

Queries are terser than reports. Chosen on the phantom demo's model: of 15 queries in the reports' field none gets the
note, of 15 foreign ones all do (see docs/search.md).
"""

Embed = Callable[[Sequence[str]], np.ndarray]


def calibrate(index: Index, prompts: Prompts | None, embed: Embed | None) -> dict[str, Any]:
    """Measure the best scores that queries made of the index's own data reach, for each kind of query and target.

    A text's vector also has a length, before it is scaled to 1. Behind `whiten_text` it is the distance from what the
    model was trained on: that tells foreign texts from the index's own far better than the scores do.

    Args:
        index: the index.
        prompts: of the labels.
        embed: the text encoder, if there is one: texts → (n, E).

    Returns:
        `KIND_INTO` → `lowest` (the first percentile of the best scores), `median`, `of` (how many queries), `what`
        they are (single sentences of reports, volumes, labels' prompts), and for texts `longest` (1.5 times the 99th
        percentile of the vectors' lengths).
    """
    if len(index) < 2:
        return {}
    positions = _evenly_spaced(len(index))
    images = index.image.values[index.image.slot[positions]]
    calibration = {
        "volume_image": _best_scores(index.image, images, "volumes", positions),
        "volume_report": _best_scores(index.text, images, "volumes"),
    }
    if embed is not None:
        sentences = list(
            dict.fromkeys(
                sentence for study in index.rows(positions.tolist()) for sentence in split_sentences(study.report)
            )
        )
        vectors = embed([sentences[i] for i in _evenly_spaced(len(sentences))])
        vectors = vectors[np.linalg.norm(vectors, axis=1) > 0]
        longest = {"longest": round(BEYOND * float(np.percentile(np.linalg.norm(vectors, axis=1), 100 - OUTSIDE)), 4)}
        calibration["text_image"] = _best_scores(index.image, vectors, "sentences") | longest
        calibration["text_report"] = _best_scores(index.text, vectors, "sentences") | longest
    labels = [label for label in prompts.labels if label in index.label_counts()] if prompts else []
    if prompts and labels:
        queries = np.stack(
            [np.mean([unit_vector(v) for v in prompts.affirming(label).numpy()], axis=0) for label in labels]
        )
        calibration["keyword_image"] = _best_scores(index.image, queries, "keywords")
    return calibration


def _evenly_spaced(count: int) -> np.ndarray:
    """Return at most `SAMPLE` positions of `count`, at equal steps, as int64."""
    return np.unique(np.linspace(0, count - 1, min(SAMPLE, count), dtype=np.int64))


def _best_scores(
    vectors: Vectors, queries: np.ndarray, what: str, excluded: np.ndarray | None = None
) -> dict[str, Any]:
    """Summarise the best score of each query (Q, E).

    `excluded` are the positions (Q,) of the queries themselves, where vectors are searched with their own.
    """
    scores = [
        next(
            float(score)
            for position, score in zip(best.position, best.score, strict=True)
            if excluded is None or position != excluded[number]
        )
        for number, best in enumerate(vectors.top(queries, 2))
    ]
    lowest = float(np.percentile(scores, OUTSIDE, method="lower"))
    return {"lowest": round(lowest, 4), "median": round(float(np.median(scores)), 4), "of": len(scores), "what": what}
