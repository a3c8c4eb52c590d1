"""Three columns are enough for labels: what the reports give in memory is what `label` would have written."""

import contextlib
import io
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.models.checkpoint import read_checkpoint
from bimcvr.search.index.reader import Index
from helpers.cli import TINY, newest_run

REPORTS = (
    "There is a nodule in the right upper lobe, study number {} of this series.",
    "Derrame pleural izquierdo. No se observan nódulos. Estudio número {} de esta serie.",
    "Emphysema of both lungs. There is no pleural effusion. Study number {} of this series.",
)
COUNT = 18
LABELS = ["nodule", "pleural effusion", "emphysema"]
pytestmark = pytest.mark.slow

MADE = "labels: made in memory from the reports, by findings.yaml "


@dataclass(frozen=True)
class Road:
    """What fit, test, evaluate and index have made of one manifest, and what each has said."""

    manifest: Path
    config: Path
    run: Path
    result: dict[str, Any]
    evaluated: dict[str, Any]
    index: Path
    said: dict[str, str]


def said_by(*words: str | Path | int) -> str:
    """Call a verb and return what it says, Lightning's log included."""
    said = io.StringIO()
    handler, logger = logging.StreamHandler(said), logging.getLogger("pytorch_lightning")
    logger.addHandler(handler)
    with contextlib.redirect_stdout(said):
        assert main(list(map(str, words))) == 0
    logger.removeHandler(handler)
    return said.getvalue()


def travel(manifest: Path, root: Path, folder: Path) -> Road:
    folder.mkdir()
    config, index = folder / "tiny.yaml", folder / "index"
    objective = "    init_args: {keywords: 0.5, presence: 0.5, symmetric"
    config.write_text(TINY.replace("max_epochs: 2", "max_epochs: 1").replace("    init_args: {symmetric", objective))
    data = ["--data.manifest", manifest, "--data.root", root, "--data.strategy", "row_order"]
    said = {"fit": said_by("fit", "--config", config, "--runs", folder / "runs", *data)}
    run = newest_run(folder / "runs")
    best, out = run / "checkpoints/best.ckpt", folder / "evaluated.json"
    said["test"] = said_by("test", "--checkpoint", best)
    said["evaluate"] = said_by("evaluate", run / "embeddings.npz", "--out", out, "--resamples", 10_000)
    source = ["--manifest", manifest, "--root", root, "--checkpoint", best]
    said["index"] = said_by("index", *source, "--out", index, "--jobs", 1)
    said["probes"] = said_by("probes", manifest, "--out", folder / "probes.csv", "--strategy", "row_order")
    result, evaluated = (json.loads(path.read_text()) for path in (run / "result.json", out))
    return Road(manifest, config, run, result, evaluated, index, said)


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> tuple[Road, Road]:
    """A manifest of three columns, and the same with the columns that `label` writes."""
    folder = tmp_path_factory.mktemp("roads")
    table = pd.read_csv(tiny_cohort)[["study_id", "volume"]].iloc[:COUNT]
    table["report"] = [REPORTS[row % 3].format(row) for row in range(len(table))]
    table.to_csv(folder / "three.csv", index=False)
    assert main(["label", str(folder / "three.csv"), "--out", str(folder / "labelled.csv")]) == 0
    three, labelled = (
        travel(folder / f"{name}.csv", tiny_cohort.parent, folder / name) for name in ("three", "labelled")
    )
    return three, labelled


def test_training_and_figures_are_those_of_a_written_column(roads: tuple[Road, Road]) -> None:
    three, labelled = roads
    weights = [read_checkpoint(road.run / "checkpoints/last.ckpt")["state_dict"] for road in roads]
    assert all(torch.equal(value, weights[1][name]) or name == "first_sd" for name, value in weights[0].items())
    logged = [pd.read_csv(next(road.run.glob("logs/*/metrics.csv"))) for road in roads]
    assert set(logged[0]) == set(logged[1])
    assert {"train/L_key", "train/L_presence"} <= {
        name.removesuffix("_step").removesuffix("_epoch") for name in logged[0]
    }
    for figures in ("metrics", "intervals", "chance"):
        assert three.result[figures] == labelled.result[figures]
        assert three.evaluated[figures] == labelled.evaluated[figures] == three.result[figures]
    assert set(three.result["metrics"]["keyword"]) == set(LABELS)


def test_the_index_has_the_labels_and_the_measured_lift_of_a_written_column(roads: tuple[Road, Road]) -> None:
    with Index.open(roads[0].index) as three, Index.open(roads[1].index) as labelled:
        assert three.labels == labelled.labels == [(LABELS[row % 3],) for row in range(COUNT)]
        assert three.commit.calibration == labelled.commit.calibration
        assert set(three.commit.calibration["labels"]) == set(LABELS)
        assert three.prompts is not None
        assert labelled.prompts is not None
        assert three.prompts.labels == labelled.prompts.labels
    texts = [(road.index.parent / "probes.csv").read_text() for road in roads]
    assert texts[0] == texts[1]
    assert "There is emphysema." in texts[0]


def test_results_checkpoint_embeddings_and_index_tell_where_the_labels_are_from(roads: tuple[Road, Road]) -> None:
    for road, beginning in zip(roads, ("reports, by findings.yaml ", "column"), strict=True):
        told = [road.result["about"]["labels_from"], road.evaluated["about"]["labels_from"]]
        told.append(read_checkpoint(road.run / "checkpoints/best.ckpt")["CTReportDataModule"]["labels"]["from"])
        told.append((load_embeddings(road.run / "embeddings.npz").provenance or {})["labels_from"])
        with Index.open(road.index) as index:
            told.append(index.facts["labels_from"])
        assert len(set(told)) == 1
        assert told[0].startswith(beginning)
    for verb in ("fit", "test", "evaluate", "index", "probes"):
        assert roads[0].said[verb].count(MADE) == 1, verb
        assert f"{COUNT} of {COUNT} studies have some" in roads[0].said[verb]
        assert "bimcvr label" in roads[0].said[verb]
        assert MADE not in roads[1].said[verb]


def test_made_labels_are_not_written(roads: tuple[Road, Road]) -> None:
    assert list(pd.read_csv(roads[0].manifest)) == ["study_id", "volume", "report"]
    assert list(pd.read_csv(roads[0].run / "manifest.csv")) == ["study_id", "volume", "report", "split"]


def test_a_run_does_not_go_on_with_other_labels(
    roads: tuple[Road, Road], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(roads[1].manifest).drop(columns="labels_source")
    table.loc[5, "labels"] = "cyst"
    shutil.copytree(roads[0].run, run := tmp_path / "runs/tiny" / roads[0].run.name)
    table.to_csv(tmp_path / "other.csv", index=False)
    words = ["fit", "--config", run / "config.yaml", "--checkpoint", run / "checkpoints/last.ckpt"]
    words += ["--data.manifest", tmp_path / "other.csv", "--trainer.max_epochs", 2]
    capsys.readouterr()
    assert main(list(map(str, words))) == 1
    assert "was trained with other labels (reports, by findings.yaml" in " ".join(capsys.readouterr().err.split())


def test_an_index_takes_labels_that_other_rules_make(
    roads: tuple[Road, Road], tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the manifest are the same: the labels alone are a change."""
    shutil.copytree(roads[0].index, out := tmp_path / "index")
    source = ["--manifest", roads[0].manifest, "--root", tiny_cohort.parent, "--jobs", 1, "--out", out]
    source += ["--checkpoint", roads[0].run / "checkpoints/best.ckpt"]
    assert f"{COUNT} unchanged" in said_by("index", *source)
    monkeypatch.setattr(
        "bimcvr.curation.labels.extractor.LabelExtractor.labels", lambda self, report, language="": ("cyst",)
    )
    assert f"{COUNT} added or updated" in said_by("index", *source)
    with Index.open(out) as index:
        assert set(index.labels) == {("cyst",)}
