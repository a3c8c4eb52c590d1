"""What an index's own studies and sentences reach: a query that stays outside is doubted."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.data.text.sentences import split_sentences
from bimcvr.search.index.exact_search import Vectors, unit_vector
from bimcvr.search.index.reader import Index

SAMPLE = 500
"""Studies, and sentences, at equal steps that are asked: enough for a percentile of one."""

OUTSIDE = 1.0
"""The percentile below which a query's best score is doubted."""

ENOUGH = 100
"""How many queries of its own an index needs for that: fewer have no percentile of one."""

BEYOND = 1.5
"""How many times the length that 99 of 100 sentences stay below a text's vector may have.

Queries are terser than reports.

Chosen on the phantom demo's model: of 15 queries in the reports' field it doubts none, of 15 foreign ones all (see
docs/search.md).
"""

Embed = Callable[[Sequence[str]], np.ndarray]


def calibrate(index: Index, prompts: Prompts | None, embed: Embed | None) -> dict[str, Any]:
    """Measure, for each kind of query and what is ranked, the best scores that this index's own reach.

    A text's vector also has a length, before it is scaled to 1. Behind `whiten_text` it is the distance from what the
    model was trained on: that tells foreign texts from its own far better than the scores do.

    Args:
        index: the index.
        prompts: of the labels.
        embed: the text encoder, if there is one: texts → (n, E).

    Returns:
        `KIND_INTO` → `lowest` (the first percentile of the best scores), `median`, `of` (how many were asked), `what`
        they are (single sentences of reports, volumes, labels' prompts), and for texts `longest` (1.5 times the 99th
        percentile of the vectors' lengths).
    """
    if len(index) < 2:
        return {}
    places = np.unique(np.linspace(0, len(index) - 1, min(SAMPLE, len(index)), dtype=np.int64))
    images = index.image.values[index.image.slot[places]]
    found = {
        "volume_image": _measured(index.image, images, "volumes", places),
        "volume_report": _measured(index.text, images, "volumes"),
    }
    if embed is not None:
        said = list(
            dict.fromkeys(sentence for row in index.rows(places.tolist()) for sentence in split_sentences(row.report))
        )
        vectors = embed(
            [said[i] for i in np.unique(np.linspace(0, len(said) - 1, min(SAMPLE, len(said)), dtype=np.int64))]
        )
        vectors = vectors[np.linalg.norm(vectors, axis=1) > 0]
        longest = {"longest": round(BEYOND * float(np.percentile(np.linalg.norm(vectors, axis=1), 100 - OUTSIDE)), 4)}
        found["text_image"] = _measured(index.image, vectors, "sentences") | longest
        found["text_report"] = _measured(index.text, vectors, "sentences") | longest
    asked = [label for label in prompts.labels if label in index.label_counts()] if prompts else []
    if prompts and asked:
        queries = np.stack(
            [np.mean([unit_vector(v) for v in prompts.affirming(label).numpy()], axis=0) for label in asked]
        )
        found["keyword_image"] = _measured(index.image, queries, "keywords")
    return found


def _measured(vectors: Vectors, queries: np.ndarray, what: str, own: np.ndarray | None = None) -> dict[str, Any]:
    """`own` are the queries' own places, whose scores say nothing where a stream asks itself."""
    scores = [
        next(
            float(score)
            for place, score in zip(top.place, top.score, strict=True)
            if own is None or place != own[number]
        )
        for number, top in enumerate(vectors.top(queries, 2))
    ]
    lowest = float(np.percentile(scores, OUTSIDE, method="lower"))
    return {"lowest": round(lowest, 4), "median": round(float(np.median(scores)), 4), "of": len(scores), "what": what}
