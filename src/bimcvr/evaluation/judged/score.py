"""Embeddings scored by people's judgements, as the search page collects them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import Gallery
from bimcvr.data.judgements import Query
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.metrics.judged import judged_metrics

KS = (1, 5, 10)
RULE = (
    "P@K and nDCG@K over the judged studies of a query alone (condensed lists: a study without a judgement is left"
    " out of the ranking), ties in expectation; means over queries that have so many judged studies"
)


def score_judgements(
    runs: Sequence[Embeddings], gallery: Gallery, judged: Mapping[Query, Mapping[str, bool]], ks: Sequence[int] = KS
) -> dict[str, Any]:
    """Score the queries that embeddings can answer: labels with prompts, and studies of the gallery.

    Args:
        runs: the embeddings of one method in one or several runs, each with the gallery's rows; figures are means.
        gallery: the rows.
        judged: for each query the studies that are relevant, and that are not.
        ks: the K of P@K and nDCG@K.

    Returns:
        The means over queries by name, `queries` (each with its figures and numbers), how many were left out and why,
        and the rule.
    """
    position = {study: row for row, study in enumerate(gallery.study_id)}
    queries: list[dict[str, Any]] = []
    no_vector = outside = 0
    for query, studies in judged.items():
        known = {study: fits for study, fits in studies.items() if study in position}
        vectors = [_vector(run, query, position) for run in runs]
        if any(vector is None for vector in vectors):
            no_vector += 1
        elif not known:
            outside += 1
        else:
            rows, relevant = torch.tensor([position[study] for study in known]), torch.tensor(list(known.values()))
            figures = [
                judged_metrics(normalize(run.image[rows].double(), dim=1) @ vector, relevant, ks)
                for run, vector in zip(runs, vectors, strict=True)
                if vector is not None
            ]
            means = {name: sum(each[name] for each in figures) / len(figures) for name in figures[0]}
            counts = {"judged": len(known), "relevant": int(relevant.sum())}
            queries.append({"mode": query.mode, "query": query.query, **counts, **means})
    names = [f"{metric}@{k}" for k in ks for metric in ("P", "nDCG")]
    overall: dict[str, dict[str, float]] = {}
    for name in names:
        values = [each[name] for each in queries if name in each]
        if values:
            overall[name] = {"mean": sum(values) / len(values), "queries": len(values)}
    return {"metrics": overall, "queries": queries, "without_vector": no_vector, "outside": outside, "rule": RULE}


def format_judgements(scored: Mapping[str, Any]) -> str:
    """Lay the means out as text; no query's text is printed."""
    lines = [f"\njudged by people: {len(scored['queries'])} queries"]
    for name, each in scored["metrics"].items():
        value = f"{each['mean']:.1f} %" if name.startswith("P@") else f"{each['mean']:.3f}"
        lines.append(f"  {name:<8} {value:>8}  ({each['queries']} queries)")
    if scored["without_vector"]:
        lines.append(
            f"  left out: {scored['without_vector']} queries that the file has no vector for (texts need a text"
            " encoder; keywords their prompts, studies a place in the split)"
        )
    if scored["outside"]:
        lines.append(f"  left out: {scored['outside']} queries whose judged studies are not in the split")
    return "\n".join(lines)


def _vector(run: Embeddings, query: Query, position: Mapping[str, int]) -> Tensor | None:
    """Return a query's unit vector (E,) in float64; None where the file cannot tell."""
    if query.mode == "study" and query.query in position:
        return normalize(run.image[position[query.query]].double(), dim=0)
    if query.mode != "study" and run.prompts is not None and query.query in run.prompts.labels:
        return normalize(normalize(run.prompts.affirming(query.query).double(), dim=1).mean(0), dim=0)
    return None
