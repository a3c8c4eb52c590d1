"""From embeddings to a result: metrics, intervals, chance, ties, by one function for every model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.metrics.bootstrap import RESAMPLES, intervals
from bimcvr.metrics.counterfactual import probe_figures
from bimcvr.metrics.keyword import keyword_figures, relevance, zero_shot_figures
from bimcvr.metrics.label_map import DEFINITION, label_relevance
from bimcvr.metrics.metric_family import Scored, mean_over_seeds, spread_over_seeds
from bimcvr.metrics.per_query import RECALL_AT, chance, outcomes, over_seeds, summary
from bimcvr.metrics.rank_engine import rank_both
from bimcvr.metrics.ranks import RULES, WAYS, Ranks, right_answers


@dataclass(frozen=True)
class Draws:
    """How intervals are drawn.

    Attributes:
        seed: of the draws.
        resamples: their number.
    """

    seed: int = 0
    resamples: int = RESAMPLES


def build_result(
    runs: Sequence[Embeddings],
    gallery: Gallery,
    ks: Sequence[int] = RECALL_AT,
    draws: Draws = Draws(),
    rule: str = "report",
) -> dict[str, Any]:
    """Score both directions, keywords, zero-shot findings, label relevance and probes.

    Args:
        runs: the embeddings of one method in one or several runs (seeds), each with just the gallery's rows in its
            order.
        gallery: the N rows.
        ks: the K of R@K; a K above N is left out.
        draws: of the intervals.
        rule: which answers are right: a key of `RULES`.

    Returns:
        `metrics`, `intervals` (95 %, by patient) and `chance`; counts of queries, ties and several right answers; the
        rule and definitions; with several runs the standard deviation over them, `seeds_sd`. R@K, P@K, AP and mAP@K are
        in percent, MRR and AUROC between 0 and 1.

    Raises:
        UserError: an embedding is not finite.
    """
    group = right_answers(gallery, rule)
    ranked = [dict(zip(WAYS, rank_both(run.image, run.text, group), strict=True)) for run in runs]
    per_run = [{way: outcomes(ranks, ks) for way, ranks in ways.items()} for ways in ranked]
    mean = {way: over_seeds([run[way] for run in per_run]) for way in WAYS}
    families, notes = _families(runs, gallery, draws)
    joined = {name: mean_over_seeds(scored) for name, scored in families.items()}
    result = {
        "metrics": {
            **{way: summary(mean[way]) for way in WAYS},
            **{name: scored.figures for name, scored in joined.items()},
        },
        "intervals": {
            **{way: intervals(mean[way], gallery.patient, draws.seed, draws.resamples) for way in WAYS},
            **{name: scored.intervals() for name, scored in joined.items()},
        },
        "chance": chance(group, ks),
        "n_queries": len(group),
        "n_gallery": len(group),
        "n_patients": len(set(gallery.patient)),
        "queries_with_several_right_answers": int((torch.bincount(group)[group] > 1).sum()),
        "queries_with_ties": {way: max(_tied(ways[way]) for ways in ranked) for way in WAYS},
        "rule": RULES[rule],
        "interval": f"95 %, percentile bootstrap over patients, {draws.resamples} resamples, seed {draws.seed}",
        "label_relevance_definition": DEFINITION,
        "notes": notes,
    }
    if len(runs) > 1:
        result["runs"] = len(runs)
        result["seeds_sd"] = {
            **spread_over_seeds([{way: summary(run[way]) for way in WAYS} for run in per_run]),
            **{name: spread_over_seeds([scored.figures for scored in of]) for name, of in families.items()},
        }
    return result


def mean_outcomes(
    runs: Sequence[Embeddings], gallery: Gallery, ks: Sequence[int], rule: str
) -> dict[str, dict[str, Tensor]]:
    """Return each query's mean outcomes over the runs of a method, by direction."""
    group = right_answers(gallery, rule)
    per_run = [rank_both(run.image, run.text, group) for run in runs]
    return {way: over_seeds([outcomes(ranks[i], ks) for ranks in per_run]) for i, way in enumerate(WAYS)}


def _families(runs: Sequence[Embeddings], gallery: Gallery, draws: Draws) -> tuple[dict[str, list[Scored]], list[str]]:
    """Score what needs labels, prompts or probes; say why where something is absent."""
    families: dict[str, list[Scored]] = {"keyword": [], "zero_shot": [], "label_relevance": [], "probes": []}
    notes = []
    patients, (seed, resamples) = gallery.patient, (draws.seed, draws.resamples)
    labelled, prompted, probed = any(gallery.labels), all(run.prompts for run in runs), all(run.probes for run in runs)
    place = {name: i for i, name in enumerate(gallery.study_id)}
    for run in runs:
        if labelled:
            families["label_relevance"].append(
                label_relevance(run.image, run.text, gallery.labels, patients, seed=seed, resamples=resamples)
            )
        if labelled and run.prompts is not None and prompted:
            of = relevance(gallery.labels, run.prompts.labels)
            families["keyword"].append(
                keyword_figures(run.image, run.prompts, of, patients, seed=seed, resamples=resamples)
            )
            families["zero_shot"].append(
                zero_shot_figures(run.image, run.prompts, of, patients, seed=seed, resamples=resamples)
            )
        if run.probes is not None and probed:
            here = [i for i, name in enumerate(run.probes.study_id) if name in place]
            families["probes"].append(
                probe_figures(
                    run.image,
                    run.text,
                    run.probes.vector[here],
                    [place[run.probes.study_id[i]] for i in here],
                    [run.probes.kind[i] for i in here],
                    patients,
                    seed,
                    resamples,
                )
            )
    if not labelled:
        notes.append("keyword, zero-shot and label figures are absent: the manifest has no labels")
    elif not prompted:
        notes.append(
            "keyword and zero-shot figures are absent: the embeddings hold no prompts (`python -m bimcvr probes` lists"
            " them)"
        )
    elif runs[0].prompts is not None and not families["keyword"][0].figures:
        notes.append(
            "keyword and zero-shot figures are absent: no row bears a label that a prompt asks for; asked for are "
            f"{_some(runs[0].prompts.labels)}, borne {_some(sorted(frozenset().union(*gallery.labels)))}"
        )
    elif not families["zero_shot"][0].figures:
        notes.append(
            "zero-shot figures are absent: they need a label that prompts both ask for and deny, and some rows but not"
            " all bear"
        )
    if not probed:
        notes.append(
            "counterfactual probes are absent: the embeddings hold no changed reports (`python -m bimcvr probes` lists"
            " them)"
        )
    elif runs[0].probes is not None and not families["probes"][0].figures:
        notes.append(
            "counterfactual probes are absent: no changed report is of a study of the split; theirs are "
            f"{_some(list(dict.fromkeys(runs[0].probes.study_id)))}, the split's {_some(gallery.study_id)}"
        )
    return {name: scored for name, scored in families.items() if scored}, notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"


def _tied(ranks: Ranks) -> int:
    return int((ranks.tied_wrong > 0).sum())
