"""What stays in a run folder when later verbs work in it, and what leaves no folder behind."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from bimcvr.evaluation.embeddings import load_embeddings
from helpers.cli import TINY, newest_run


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> Path:
    """The run folder of a finished fit and test."""
    folder = tmp_path_factory.mktemp("tested")
    (folder / "tiny.yaml").write_text(TINY)
    assert (
        main(
            [
                "fit",
                "--config",
                str(folder / "tiny.yaml"),
                "--data.manifest",
                str(tiny_cohort),
                "--runs",
                str(folder / "runs"),
            ]
        )
        == 0
    )
    run = newest_run(folder / "runs")
    assert main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt")]) == 0
    return run


@pytest.fixture
def run(tested: Path, tmp_path: Path) -> Path:
    """A copy of it in the test's own `runs`."""
    shutil.copytree(tested, tmp_path / "runs/tiny" / tested.name)
    return tmp_path / "runs/tiny" / tested.name


@pytest.fixture
def other(tiny_cohort: Path, tmp_path: Path) -> list[str]:
    """Options that name another manifest: the test split and three rows more."""
    pd.read_csv(tiny_cohort).iloc[20:].to_csv(tmp_path / "other.csv", index=False)
    return ["--data.manifest", str(tmp_path / "other.csv"), "--data.root", str(tiny_cohort.parent)]


def test_a_worse_epoch_after_a_resume_leaves_the_best(
    tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.4, 0.9, 0.5, 0.6])
    monkeypatch.setattr("bimcvr.models.evaluation_loop.selection_score", lambda _: torch.tensor(next(scores)))
    words = ["fit", *tiny_config, "--ckpt_path", "last", "--trainer.max_epochs"]
    assert main([*words, "2"]) == 0
    assert main([*words, "4"]) == 0
    best = torch.load(newest_run(tmp_path / "runs") / "checkpoints/best.ckpt", weights_only=True)
    assert next(scores, None) is None, "four epochs were scored"
    assert best["epoch"] == 1


def test_predict_leaves_what_test_wrote(run: Path, other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    kept = {
        name: (run / name).read_bytes() for name in ("embeddings.npz", "result.json", "manifest.csv", "config.yaml")
    }
    assert main(["predict", "--ckpt_path", str(run / "checkpoints/best.ckpt"), *other]) == 0
    assert {name: (run / name).read_bytes() for name in kept} == kept
    assert load_embeddings(run / "embeddings_other.npz").study_id == [f"s{number}" for number in range(20, 30)]
    assert f"embeddings: {run / 'embeddings_other.npz'}" in capsys.readouterr().out


def test_the_manifest_of_a_run_is_what_it_was_trained_on(run: Path, other: list[str]) -> None:
    kept = (run / "manifest.csv").read_bytes()
    assert not (run / "manifest_test.csv").exists(), "the same rows and split are not written twice"
    words = ["test", "--ckpt_path", str(run / "checkpoints/best.ckpt")]
    assert main([*words, *other]) == 0
    assert (run / "manifest.csv").read_bytes() == kept
    assert len(pd.read_csv(run / "manifest_test.csv")) == 10
    assert main(words) == 0
    assert not (run / "manifest_test.csv").exists(), "it would describe rows that were not tested last"


def _record(run: Path) -> dict[Path, bytes]:
    """The files of a run, all but its logs."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "logs" not in path.parts}


def test_what_a_resume_or_a_test_refuses_leaves_the_record(
    run: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(tiny_cohort)
    table["split"] = table["split"].replace({"train": "test", "test": "train"})
    table.to_csv(tmp_path / "turned.csv", index=False)
    files = _record(run)
    config, checkpoints = ["--config", str(run / "config.yaml"), "--runs", str(run.parents[1])], run / "checkpoints"
    resume = ["fit", *config, "--ckpt_path", str(checkpoints / "last.ckpt"), "--trainer.max_epochs", "3"]
    turned = ["--data.manifest", str(tmp_path / "turned.csv"), "--data.root", str(tiny_cohort.parent)]
    for words, told in (
        ([*resume, "--data.batch_size", "1"], "no negatives"),
        (["test", "--ckpt_path", str(checkpoints / "best.ckpt"), *turned], "trained on"),
        (["validate", "--ckpt_path", str(checkpoints / "best.ckpt"), "--data.manifest", "gone.csv"], "gone.csv"),
    ):
        assert main(words) == 1
        assert told in capsys.readouterr().err
    assert _record(run) == files


def test_best_is_found_without_a_config(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parents[2])
    assert main(["test", "--ckpt_path", "best", "--experiment", "tiny"]) == 0
    assert f"result: {Path('runs/tiny') / run.name / 'result.json'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "test needs a checkpoint"),
        (["--ckpt_path", "best"], "--experiment"),
        (["--ckpt_path=last", "--experiment=nothing"], "no run of seed 0 with checkpoints/last.ckpt in runs/nothing"),
    ],
)
def test_a_checkpoint_that_is_not_told_or_not_there(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["test", *words]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "required" not in error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--checkpoint.dirpath", "here"], "checkpoint.dirpath cannot be set"),
        (["--checkpoint.filename", "x"], "checkpoint.filename cannot be set"),
        (["--trainer.default_root_dir", "here"], "trainer.default_root_dir cannot be set"),
        (["--trainer.enable_checkpointing", "false"], "trainer.enable_checkpointing cannot be set"),
        (["--data.manifest", "gone.csv"], "no manifest at gone.csv"),
        (["--data.strategy", "exact", "--data.fractions", "[1, 0, 0]"], "split 'val'"),
        (["--data.size", "[0, 16, 16]"], "1 or more"),
        (["--data.batch_size", "1"], "no negatives"),
        (["--checkpoint.monitor", "val/loss"], "which is not logged"),
    ],
)
def test_what_is_refused_before_training_leaves_no_folder(
    words: list[str], told: str, tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *tiny_config, *words]) == 1
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))
