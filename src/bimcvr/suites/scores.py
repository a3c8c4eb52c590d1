"""From the embeddings of a row's runs to its figures over seeds, with intervals and what comparisons need."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import yaml
from torch import Tensor

from bimcvr.contracts import Gallery, Prompts
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import Manifest, read_manifest
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings, load_embeddings
from bimcvr.evaluation.result import Draws
from bimcvr.metrics.bootstrap import bootstrap, quantiles
from bimcvr.metrics.keyword import KS as KEYWORD_KS
from bimcvr.metrics.keyword import keyword_figures, relevance
from bimcvr.metrics.metric_family import mean_over_seeds, spread_over_seeds
from bimcvr.metrics.per_query import KS, Outcomes, outcomes, over_seeds, summary
from bimcvr.metrics.rank_engine import rank_both
from bimcvr.metrics.ranks import WAYS
from bimcvr.suites.run_process import DONE
from bimcvr.suites.runner import Places, Record, best_trial
from bimcvr.suites.runs import Run, flat
from bimcvr.suites.suite import Row

KEYWORDS = ("atelectasis", "consolidation", "adenopathy")
"""The queries of the paper's Table 3."""

CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
"""The K of the recall curves, as far as the gallery goes."""

LARGE = 400
"""The smallest gallery in which P@100 says something."""


@dataclass(frozen=True)
class Figure:
    """One figure of one row.

    Attributes:
        value: the mean over the seeds.
        sd: their standard deviation; None for a single run.
        interval: 95 %, over patients, of the mean over seeds.
        drawn: the figure in each resample.
    """

    value: float
    sd: float | None
    interval: list[float]
    drawn: Tensor = field(repr=False, compare=False)


@dataclass(frozen=True)
class Method:
    """A row of the suite and what came of it.

    Attributes:
        row: as the suite has it.
        status: `done`, or why there are no figures.
        reason: more about that.
        results: of its runs, by seed.
        records: of its runs, by seed.
        learning_rate: the chosen one.
        config: of its first run, as it was resolved, flat.
        figures: by subject (a direction or a keyword) and name.
        outcomes: each query's mean outcomes over the seeds, by direction.
        prevalence: of each keyword, in percent.
    """

    row: Row
    status: str
    reason: str = ""
    results: Sequence[Mapping[str, Any]] = ()
    records: Sequence[Record] = ()
    learning_rate: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)
    prevalence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tested:
    """The split that all rows were tested on."""

    manifest: Manifest
    gallery: Gallery


def chosen_runs(trials: Sequence[list[Run]], records: Mapping[Run, Record]) -> list[Run]:
    """Return the runs of a row that ended well, with the trial that `val` chose."""
    best = best_trial(trials, records)
    return [] if best is None else [run for run in trials[best] if records.get(run, {}).get("status") == DONE]


def tested_split(
    rows: Sequence[Sequence[list[Run]]], records: Mapping[Run, Record], places: Places, source: Manifest
) -> Tested | None:
    """Return the cohort with the split and what was set aside as a finished run wrote it down.

    None where none is finished.
    """
    for trials in rows:
        for run in chosen_runs(trials, records):
            written = read_manifest(places.runs / run.experiment / records[run]["folder"] / "manifest.csv")
            manifest = Manifest(written.table, source.path, source.root)
            return Tested(manifest, evaluation_gallery(manifest, *split_rows(manifest, "test", "column"), "test"))
    return None


def score(
    row: Row, trials: Sequence[list[Run]], records: Mapping[Run, Record], places: Places, tested: Tested, draws: Draws
) -> Method:
    """Score a row's runs over the seeds; where there are none, say why."""
    runs = chosen_runs(trials, records)
    if not runs:
        ended = next(records[of[0]] for of in trials if of[0] in records)
        return Method(row, str(ended["status"]), str(ended.get("reason", "")))
    folders = [places.runs / run.experiment / records[run]["folder"] for run in runs]
    embeddings = [_aligned(load_embeddings(folder / "embeddings.npz"), tested.gallery, row) for folder in folders]
    ways, means = _ways(embeddings, tested.gallery, draws)
    keywords, prevalence = _keywords(embeddings, tested.gallery, draws)
    return Method(
        row,
        DONE,
        results=[json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in folders],
        records=[records[run] for run in runs],
        learning_rate=runs[0].learning_rate,
        config=flat(yaml.safe_load((folders[0] / "config.yaml").read_text(encoding="utf-8"))),
        figures={**ways, **keywords},
        outcomes=means,
        prevalence=prevalence,
    )


def _aligned(embeddings: Embeddings, gallery: Gallery, row: Row) -> Embeddings:
    place = {study: number for number, study in enumerate(embeddings.study_id)}
    if set(place) != set(gallery.study_id):
        raise UserError(
            f"The row {row.name} was tested on other studies than the rows before it: set data.strategy and"
            " data.fractions in the suite's options, so that no row's file decides them."
        )
    return embeddings.only([place[study] for study in gallery.study_id])


def _ways(
    runs: Sequence[Embeddings], gallery: Gallery, draws: Draws
) -> tuple[dict[str, dict[str, Figure]], dict[str, Outcomes]]:
    group = torch.as_tensor(gallery.group)
    ranked = [dict(zip(WAYS, rank_both(run.image, run.text, group), strict=True)) for run in runs]
    ks = sorted({*KS, *CURVE})
    per_run = [
        {way: {name: of for name, of in outcomes(ranks, ks).items() if name != "MRR"} for way, ranks in ways.items()}
        for ways in ranked
    ]
    means = {way: over_seeds([run[way] for run in per_run]) for way in WAYS}
    several = len(runs) > 1
    sd = spread_over_seeds([{way: summary(run[way]) for way in WAYS} for run in per_run]) if several else {}
    figures = {}
    for way in WAYS:
        drawn = bootstrap(means[way], gallery.patient, draws.seed, draws.resamples)
        bounds = quantiles(drawn)
        figures[way] = {
            name: Figure(value, sd[way][name] if several else None, bounds[name], drawn[name])
            for name, value in summary(means[way]).items()
        }
    compared = {*(f"R@{k}" for k in KS), "MnR"}
    return figures, {way: {name: of for name, of in means[way].items() if name in compared} for way in WAYS}


def _keywords(
    runs: Sequence[Embeddings], gallery: Gallery, draws: Draws
) -> tuple[dict[str, dict[str, Figure]], dict[str, float]]:
    """Score the paper's keywords, as far as volumes of the gallery bear them; relevant is what bears the label."""
    asked = [_only_keywords(run.prompts) for run in runs if run.prompts is not None]
    if len(asked) < len(runs) or not asked[0].labels:
        return {}, {}
    relevant = relevance(gallery.labels, asked[0].labels)
    ks = [k for k in KEYWORD_KS if k < 100 or len(gallery.rows) >= LARGE]
    scored = [
        keyword_figures(run.image, prompts, relevant, gallery.patient, ks, draws.seed, draws.resamples)
        for run, prompts in zip(runs, asked, strict=True)
    ]
    mean, several = mean_over_seeds(scored), len(runs) > 1
    sd = spread_over_seeds([of.figures for of in scored]) if several else {}
    bounds = mean.intervals()
    return (
        {
            label: {
                name: Figure(value, sd[label][name] if several else None, bounds[label][name], mean.drawn[label][name])
                for name, value in of.items()
                if name.startswith("P@")
            }
            for label, of in mean.figures.items()
        },
        {label: of["prevalence"] for label, of in mean.figures.items()},
    )


def _only_keywords(prompts: Prompts) -> Prompts:
    kept = [place for place, label in enumerate(prompts.label) if label in KEYWORDS]
    return replace(
        prompts,
        sentence=[prompts.sentence[i] for i in kept],
        label=[prompts.label[i] for i in kept],
        denies=[prompts.denies[i] for i in kept],
        vector=prompts.vector[kept],
    )
