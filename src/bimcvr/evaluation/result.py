"""From embeddings to a result: metrics, intervals, chance levels and ties, by one function for every model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_intervals
from bimcvr.metrics.counterfactual import probe_metrics
from bimcvr.metrics.keyword import keyword_metrics, rows_with_label
from bimcvr.metrics.label_map import DEFINITION, label_relevance_metrics
from bimcvr.metrics.localisation import DEFINITION as LOCALISATION
from bimcvr.metrics.localisation import localisation_metrics
from bimcvr.metrics.metric_family import MetricFamily, mean_over_seeds, spread_over_seeds
from bimcvr.metrics.per_query import RECALL_AT, average_over_seeds, chance_metrics, per_query_values, summarize
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.metrics.ranking.ranks import DIRECTIONS, RULES, Ranks, right_answers
from bimcvr.metrics.zero_shot import ZERO_SHOT_SCORES, ZeroShotScore, macro_average, zero_shot_metrics


@dataclass(frozen=True)
class Resampling:
    """How bootstrap resamples are drawn.

    Attributes:
        seed: Seed of the draws.
        resamples: Number of draws.
    """

    seed: int = 0
    resamples: int = RESAMPLES


def build_result(
    runs: Sequence[Embeddings],
    gallery: Gallery,
    ks: Sequence[int] = RECALL_AT,
    resampling: Resampling = Resampling(),
    rule: str = "report",
) -> dict[str, Any]:
    """Score both directions, keywords, zero-shot findings, label relevance, counterfactual probes, and places.

    Args:
        runs: The embeddings of one method in one or several runs (seeds), each with exactly the gallery's rows, in
            its order.
        gallery: The N rows.
        ks: The K of R@K; a K above N is left out.
        resampling: How the intervals are drawn.
        rule: Which answers are right: a key of `RULES`.

    Returns:
        `metrics`, `intervals` (95 %, by patient) and `chance`; counts of queries, ties and several right answers; the
        rule and definitions; with several runs the standard deviation over them, `seeds_sd`. R@K, P@K, AP and mAP@K are
        in percent, MRR and AUROC between 0 and 1.

    Raises:
        UserError: An embedding is not finite.
    """
    group = right_answers(gallery, rule)
    ranks_by_run = [dict(zip(DIRECTIONS, rank_both(run.image, run.text, group), strict=True)) for run in runs]
    per_run = [
        {direction: per_query_values(ranks, ks) for direction, ranks in by_direction.items()}
        for by_direction in ranks_by_run
    ]
    mean = {direction: average_over_seeds([run[direction] for run in per_run]) for direction in DIRECTIONS}
    families, notes = _families(runs, gallery, resampling)
    joined = {name: mean_over_seeds(family_runs) for name, family_runs in families.items()}
    seed, resamples = resampling.seed, resampling.resamples
    unit = "patients" if gallery.description.get("patients_named", True) else "studies"
    result = {
        "metrics": {
            **{direction: summarize(mean[direction]) for direction in DIRECTIONS},
            **{name: family.values for name, family in joined.items()},
        },
        "intervals": {
            **{
                direction: bootstrap_intervals(mean[direction], gallery.patient, seed, resamples)
                for direction in DIRECTIONS
            },
            **{name: family.intervals() for name, family in joined.items()},
        },
        "chance": chance_metrics(group, ks),
        "n_queries": len(group),
        "n_gallery": len(group),
        "n_patients": len(set(gallery.patient)) if unit == "patients" else None,
        "queries_with_several_right_answers": int((torch.bincount(group)[group] > 1).sum()),
        "queries_with_ties": {
            direction: max(_tied(ranks[direction]) for ranks in ranks_by_run) for direction in DIRECTIONS
        },
        "rule": RULES[rule],
        "interval": f"95 %, percentile bootstrap over {unit}, {resamples} resamples, seed {seed}",
        "label_relevance_definition": DEFINITION,
        "notes": notes,
    }
    if "localisation" in joined and (located := runs[0].located) is not None:
        result["localisation"] = {
            "definition": LOCALISATION,
            "how": located.how,
            "token_mm": list(located.token_mm),
        }
    if "zero_shot_mean" in joined:
        result["zero_shot_score"] = list(dict.fromkeys(_zero_shot_score(run)[1] for run in runs))
    if len(runs) > 1:
        result["runs"] = len(runs)
        summaries = [{direction: summarize(run[direction]) for direction in DIRECTIONS} for run in per_run]
        result["seeds_sd"] = {
            **spread_over_seeds(summaries),
            **{
                name: spread_over_seeds([family.values for family in family_runs])
                for name, family_runs in families.items()
            },
        }
    return result


def mean_per_query_values(
    runs: Sequence[Embeddings], gallery: Gallery, ks: Sequence[int], rule: str
) -> dict[str, dict[str, Tensor]]:
    """Return each query's values, averaged over the runs of a method, by direction.

    Args:
        runs: The embeddings of one method in one or several runs, each with the gallery's rows in its order.
        gallery: The N rows.
        ks: The K of R@K.
        rule: Which answers are right: a key of `RULES`.
    """
    group = right_answers(gallery, rule)
    ranks_by_run = [rank_both(run.image, run.text, group) for run in runs]
    return {
        direction: average_over_seeds([per_query_values(ranks[position], ks) for ranks in ranks_by_run])
        for position, direction in enumerate(DIRECTIONS)
    }


def _families(
    runs: Sequence[Embeddings], gallery: Gallery, resampling: Resampling
) -> tuple[dict[str, list[MetricFamily]], list[str]]:
    """Score what needs labels, prompts or probes, run by run; note why something is absent."""
    families: dict[str, list[MetricFamily]] = {
        name: [] for name in ("keyword", "zero_shot", "zero_shot_mean", "label_relevance", "probes", "localisation")
    }
    patients, seed, resamples = gallery.patient, resampling.seed, resampling.resamples
    labelled, prompted, probed = any(gallery.labels), all(run.prompts for run in runs), all(run.probes for run in runs)
    position = {study: i for i, study in enumerate(gallery.study_id)}
    for run in runs:
        if labelled:
            families["label_relevance"].append(
                label_relevance_metrics(run.image, run.text, gallery.labels, patients, seed=seed, resamples=resamples)
            )
        if labelled and run.prompts is not None and prompted:
            relevant = rows_with_label(gallery.labels, run.prompts.labels)
            families["keyword"].append(
                keyword_metrics(run.image, run.prompts, relevant, patients, seed=seed, resamples=resamples)
            )
            zero_shot = zero_shot_metrics(
                run.image, run.prompts, relevant, patients, seed, resamples, _zero_shot_score(run)[0]
            )
            families["zero_shot"].append(zero_shot)
            if zero_shot.values:
                families["zero_shot_mean"].append(macro_average(zero_shot))
        if run.probes is not None and probed:
            in_split = [i for i, study in enumerate(run.probes.study_id) if study in position]
            families["probes"].append(
                probe_metrics(
                    run.image,
                    run.text,
                    run.probes.vector[in_split],
                    [position[run.probes.study_id[i]] for i in in_split],
                    [run.probes.kind[i] for i in in_split],
                    patients,
                    seed,
                    resamples,
                )
            )
        if run.located is not None and _same_findings(runs):
            rows = [row for row, study in enumerate(run.located.study_id) if study in position]
            located = replace(
                run.located,
                study_id=[run.located.study_id[row] for row in rows],
                finding=[run.located.finding[row] for row in rows],
                scores=run.located.scores[rows],
                diameter=run.located.diameter[rows],
            )
            owners = [patients[position[study]] for study in located.study_id]
            if rows:
                families["localisation"].append(localisation_metrics(located, owners, seed, resamples))
    notes = _keyword_notes(runs, gallery, families, labelled, prompted)
    notes += _probe_notes(runs, gallery, families, probed)
    return {name: family_runs for name, family_runs in families.items() if family_runs}, notes


def _zero_shot_score(run: Embeddings) -> tuple[ZeroShotScore, str]:
    """Return by which score a run's findings are classified, and why in words."""
    chosen = (run.provenance or {}).get("zero_shot_score")
    if not isinstance(chosen, dict) or chosen.get("used") not in ZERO_SHOT_SCORES:
        return "pair", f"{ZERO_SHOT_SCORES['pair']}, as usual: no run has chosen on its val"
    means = ", ".join(f"{name} {value:.3f}" for name, value in chosen["val"].items())
    return chosen["used"], f"{ZERO_SHOT_SCORES[chosen['used']]}, chosen on the run's val (mean AUROC there: {means})"


def _same_findings(runs: Sequence[Embeddings]) -> bool:
    scored = [run.located and (run.located.study_id, run.located.finding) for run in runs]
    return all(one == scored[0] for one in scored)


def _keyword_notes(
    runs: Sequence[Embeddings],
    gallery: Gallery,
    families: dict[str, list[MetricFamily]],
    labelled: bool,
    prompted: bool,
) -> list[str]:
    if not labelled:
        return ["keyword, zero-shot and label metrics are absent: the manifest has no labels"]
    if not prompted:
        return [
            "keyword and zero-shot metrics are absent: the embeddings hold no prompts (`python -m bimcvr probes` lists"
            " them)"
        ]
    if runs[0].prompts is not None and not families["keyword"][0].values:
        return [
            "keyword and zero-shot metrics are absent: no row has a label that a prompt names; the prompts name "
            f"{_first_few(runs[0].prompts.labels)}, the rows have"
            f" {_first_few(sorted(frozenset().union(*gallery.labels)))}"
        ]
    if not families["zero_shot"][0].values:
        return [
            "zero-shot metrics are absent: they need a label that prompts both affirm and deny, and that some rows but"
            " not all have"
        ]
    return []


def _probe_notes(
    runs: Sequence[Embeddings], gallery: Gallery, families: dict[str, list[MetricFamily]], probed: bool
) -> list[str]:
    if not probed:
        return [
            "counterfactual probes are absent: the embeddings hold no changed reports (`python -m bimcvr probes` lists"
            " them)"
        ]
    if runs[0].probes is not None and not families["probes"][0].values:
        return [
            "counterfactual probes are absent: no changed report belongs to a study of the split; the changed reports"
            f" are of {_first_few(list(dict.fromkeys(runs[0].probes.study_id)))}, the split has"
            f" {_first_few(gallery.study_id)}"
        ]
    return []


def _first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"


def _tied(ranks: Ranks) -> int:
    return int((ranks.tied_wrong > 0).sum())
