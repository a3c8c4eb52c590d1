"""Comparison of a method with others on the same rows: paired differences, intervals and corrected p-values."""

from collections.abc import Sequence
from typing import Any

from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.inputs import file_hashes, grid_facts, made_by
from bimcvr.evaluation.result import Resampling, mean_per_query_values
from bimcvr.metrics.per_query import summarize
from bimcvr.metrics.ranking.ranks import DIRECTIONS
from bimcvr.metrics.significance import compare_methods, holm


def compare_with_others(
    runs: Sequence[Embeddings],
    others: Sequence[tuple[Sequence[str], Sequence[Embeddings]]],
    gallery: Gallery,
    ks: Sequence[int],
    resampling: Resampling,
    rule: str,
) -> list[dict[str, Any]]:
    """Compare a method with every other one.

    Args:
        runs: The embeddings of the method, with the gallery's rows in its order.
        others: Of each other method the names of its files and its embeddings.
        gallery: The scored rows.
        ks: The K of R@K.
        resampling: Of the intervals and the randomisation tests.
        rule: Which answers are right: a key of `metrics.ranking.ranks.RULES`.

    Returns:
        Of each other method its `embeddings` (files with hashes), its grid and encoders where they are known, its
        `metrics`, the least p that the test can give (`p_floor`), and by direction and metric the `differences` (the
        method − the other) with `interval`, `p` and, where there are several others, `p_holm`.
    """
    own = mean_per_query_values(runs, gallery, ks, rule)
    rows: list[dict[str, Any]] = []
    for files, other_runs in others:
        other = mean_per_query_values(other_runs, gallery, ks, rule)
        rows.append(
            {
                "embeddings": file_hashes(files),
                **grid_facts(other_runs),
                **made_by(other_runs),
                "p_floor": 1 / (resampling.resamples + 1),
                "metrics": {direction: summarize(other[direction]) for direction in DIRECTIONS},
                "differences": {
                    direction: compare_methods(
                        own[direction], other[direction], gallery.patient, resampling.seed, resampling.resamples
                    )
                    for direction in DIRECTIONS
                },
            }
        )
    for direction in DIRECTIONS if len(rows) > 1 else ():
        for name in rows[0]["differences"][direction]:
            corrected = holm({str(i): row["differences"][direction][name]["p"] for i, row in enumerate(rows)})
            for i, row in enumerate(rows):
                row["differences"][direction][name]["p_holm"] = corrected[str(i)]
    return rows
