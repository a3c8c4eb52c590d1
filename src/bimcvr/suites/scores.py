"""From the embeddings of a row's runs to its metrics over seeds, with intervals and what comparisons need."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import yaml
from torch import Tensor

from bimcvr.contracts import Gallery, Prompts
from bimcvr.curation.labels.manifest_labels import with_labels
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import Manifest, read_manifest
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings, load_embeddings
from bimcvr.evaluation.result import Resampling
from bimcvr.evaluation.text_table import has_random_weights
from bimcvr.metrics.bootstrap import bootstrap_draws, quantiles
from bimcvr.metrics.keyword import KS as KEYWORD_KS
from bimcvr.metrics.keyword import keyword_metrics, rows_with_label
from bimcvr.metrics.metric_family import mean_over_seeds, spread_over_seeds
from bimcvr.metrics.per_query import KS, PerQueryValues, average_over_seeds, per_query_values, summarize
from bimcvr.metrics.prompts import PAPER_KEYWORDS
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.metrics.ranking.ranks import DIRECTIONS
from bimcvr.suites.run_process import DONE
from bimcvr.suites.runner import BenchmarkFolder, Record, best_trial
from bimcvr.suites.runs import Run, flat
from bimcvr.suites.suite import SuiteRow

CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
"""The K of the recall curves, up to the size of the gallery."""

LARGE = 400
"""The smallest gallery for which P@100 is informative."""


@dataclass(frozen=True)
class Estimate:
    """One metric of one row.

    Attributes:
        value: the mean over the seeds.
        sd: their standard deviation; None for a single run.
        interval: 95 %, over patients, of the mean over seeds.
        drawn: the metric in each resample.
    """

    value: float
    sd: float | None
    interval: list[float]
    drawn: Tensor = field(repr=False, compare=False)


@dataclass(frozen=True)
class RowResult:
    """A row of the suite with its results.

    Attributes:
        row: as the suite has it.
        status: `done`, or why there are no results.
        reason: details of that.
        results: of its runs, by seed.
        records: of its runs, by seed.
        learning_rate: the chosen one.
        config: of its first run, as it was resolved, flat.
        figures: by subject (a direction or a keyword) and name.
        outcomes: each query's mean outcomes over the seeds, by direction.
        prevalence: of each keyword, in percent.
        runs: the embeddings of its runs, by seed, with the gallery's rows in its order; without prompts and probes.
        random: whether an encoder has random weights in place of published ones; its title then says so.
    """

    row: SuiteRow
    status: str
    reason: str = ""
    results: Sequence[Mapping[str, Any]] = ()
    records: Sequence[Record] = ()
    learning_rate: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    per_query: Mapping[str, PerQueryValues] = field(default_factory=dict)
    prevalence: Mapping[str, float] = field(default_factory=dict)
    runs: Sequence[Embeddings] = field(default=(), repr=False, compare=False)
    random: bool = False


@dataclass(frozen=True)
class TestSplit:
    """The split that all rows were tested on."""

    manifest: Manifest
    gallery: Gallery


def chosen_runs(trials: Sequence[list[Run]], records: Mapping[Run, Record]) -> list[Run]:
    """Return the successful runs of a row's best trial on `val`."""
    best = best_trial(trials, records)
    return [] if best is None else [run for run in trials[best] if records.get(run, {}).get("status") == DONE]


def row_is_random(trials: Sequence[list[Run]], records: Mapping[Run, Record], places: BenchmarkFolder) -> bool:
    """Say whether a row's encoders have random weights in place of published ones, by its results or its files."""
    asked = any(name.endswith("random_weights") and value is True for name, value in trials[0][0].config.items())
    results = [places.result(run, records[run]) for of in trials for run in of if run in records]
    abouts = [json.loads(path.read_text(encoding="utf-8"))["about"] for path in results if path]
    return asked or any(map(has_random_weights, abouts))


def tested_split(
    rows: Sequence[Sequence[list[Run]]], records: Mapping[Run, Record], places: BenchmarkFolder, source: Manifest
) -> TestSplit | None:
    """Return the cohort with the split and the exclusions that a finished run wrote down, None if none is finished."""
    for trials in rows:
        for run in chosen_runs(trials, records):
            written = read_manifest(places.runs / run.experiment / records[run]["folder"] / "manifest.csv")
            manifest = with_labels(Manifest(written.table, source.path, source.root))
            return TestSplit(manifest, evaluation_gallery(manifest, *split_rows(manifest, "test", "column"), "test"))
    return None


def score(
    row: SuiteRow,
    trials: Sequence[list[Run]],
    records: Mapping[Run, Record],
    places: BenchmarkFolder,
    tested: TestSplit,
    resampling: Resampling,
) -> RowResult:
    """Score a row's runs over the seeds; where there are none, give the reason."""
    runs, random = chosen_runs(trials, records), row_is_random(trials, records, places)
    if random:
        row = row.model_copy(update={"title": f"{row.title} (random weights)"})
    if not runs:
        ended = next(records[of[0]] for of in trials if of[0] in records)
        return RowResult(row, str(ended["status"]), str(ended.get("reason", "")), random=random)
    folders = [places.runs / run.experiment / records[run]["folder"] for run in runs]
    embeddings = [_aligned(load_embeddings(folder / "embeddings.npz"), tested.gallery, row) for folder in folders]
    directions, means = _ways(embeddings, tested.gallery, resampling)
    keywords, prevalence = _keywords(embeddings, tested.gallery, resampling)
    return RowResult(
        row,
        DONE,
        results=[json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in folders],
        records=[records[run] for run in runs],
        learning_rate=runs[0].learning_rate,
        config=flat(yaml.safe_load((folders[0] / "config.yaml").read_text(encoding="utf-8"))),
        figures={**directions, **keywords},
        per_query=means,
        prevalence=prevalence,
        runs=[replace(run, prompts=None, probes=None) for run in embeddings],
        random=random,
    )


def _aligned(embeddings: Embeddings, gallery: Gallery, row: SuiteRow) -> Embeddings:
    position = {study: number for number, study in enumerate(embeddings.study_id)}
    if set(position) != set(gallery.study_id):
        raise UserError(
            f"The row {row.name} was tested on other studies than the rows before it: set data.strategy and"
            " data.fractions in the suite's options, so that no row's file decides them."
        )
    return embeddings.only([position[study] for study in gallery.study_id])


def _ways(
    runs: Sequence[Embeddings], gallery: Gallery, resampling: Resampling
) -> tuple[dict[str, dict[str, Estimate]], dict[str, PerQueryValues]]:
    group = torch.as_tensor(gallery.group)
    ranked = [dict(zip(DIRECTIONS, rank_both(run.image, run.text, group), strict=True)) for run in runs]
    ks = sorted({*KS, *CURVE})
    per_run = [
        {
            direction: {name: of for name, of in per_query_values(ranks, ks).items() if name != "MRR"}
            for direction, ranks in directions.items()
        }
        for directions in ranked
    ]
    means = {direction: average_over_seeds([run[direction] for run in per_run]) for direction in DIRECTIONS}
    several = len(runs) > 1
    sd = (
        spread_over_seeds([{direction: summarize(run[direction]) for direction in DIRECTIONS} for run in per_run])
        if several
        else {}
    )
    figures = {}
    for direction in DIRECTIONS:
        drawn = bootstrap_draws(means[direction], gallery.patient, resampling.seed, resampling.resamples)
        bounds = quantiles(drawn)
        figures[direction] = {
            name: Estimate(value, sd[direction][name] if several else None, bounds[name], drawn[name])
            for name, value in summarize(means[direction]).items()
        }
    compared = {*(f"R@{k}" for k in KS), "MnR"}
    return figures, {
        direction: {name: of for name, of in means[direction].items() if name in compared} for direction in DIRECTIONS
    }


def _keywords(
    runs: Sequence[Embeddings], gallery: Gallery, resampling: Resampling
) -> tuple[dict[str, dict[str, Estimate]], dict[str, float]]:
    """Score the paper's keywords that volumes of the gallery have as a label; those volumes are relevant."""
    keyword_prompts = [_only_keywords(run.prompts) for run in runs if run.prompts is not None]
    if len(keyword_prompts) < len(runs) or not keyword_prompts[0].labels:
        return {}, {}
    relevant = rows_with_label(gallery.labels, keyword_prompts[0].labels)
    ks = [k for k in KEYWORD_KS if k < 100 or len(gallery.rows) >= LARGE]
    scored = [
        keyword_metrics(run.image, prompts, relevant, gallery.patient, ks, resampling.seed, resampling.resamples)
        for run, prompts in zip(runs, keyword_prompts, strict=True)
    ]
    mean, several = mean_over_seeds(scored), len(runs) > 1
    sd = spread_over_seeds([family.values for family in scored]) if several else {}
    bounds = mean.intervals()
    return (
        {
            label: {
                name: Estimate(
                    value, sd[label][name] if several else None, bounds[label][name], mean.draws[label][name]
                )
                for name, value in of.items()
                if name.startswith("P@")
            }
            for label, of in mean.values.items()
        },
        {label: of["prevalence"] for label, of in mean.values.items()},
    )


def _only_keywords(prompts: Prompts) -> Prompts:
    rows = [row for row, label in enumerate(prompts.label) if label in PAPER_KEYWORDS]
    return replace(
        prompts,
        sentence=[prompts.sentence[i] for i in rows],
        label=[prompts.label[i] for i in rows],
        denies=[prompts.denies[i] for i in rows],
        vector=prompts.vector[rows],
    )
