"""A run stays what it is: what a resume may change, what it refuses, and where a new run begins with old weights."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from bimcvr.atomic_files import sha256_of
from bimcvr.cli import main
from bimcvr.run_folder import newest_run as newest_of
from helpers.cli import TINY, newest_run


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> list[str]:
    """Options of a fit, whose run is made by the first test that asks for it."""
    folder = tmp_path_factory.mktemp("identity")
    (folder / "tiny.yaml").write_text(TINY)
    return ["--config", str(folder / "tiny.yaml"), "--data.manifest", str(tiny_cohort), "--runs", str(folder / "runs")]


@pytest.fixture(scope="module")
def run(options: list[str]) -> Path:
    """The folder of a finished fit of two epochs."""
    assert main(["fit", *options]) == 0
    return newest_run(Path(options[-1]))


@pytest.fixture
def untouched(run: Path) -> Iterator[Path]:
    """The same run, none of whose files may change in the test."""
    before = {path: sha256_of(path) for path in sorted(run.rglob("*")) if path.is_file()}
    yield run
    assert {path: sha256_of(path) for path in sorted(run.rglob("*")) if path.is_file()} == before


def test_a_resume_refuses_what_would_make_another_run_of_it(
    options: list[str], untouched: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(tiny_cohort)
    root = ["--data.root", str(tiny_cohort.parent)]
    table.iloc[:-1].to_csv(tmp_path / "fewer.csv", index=False)
    table.assign(report=table["report"].replace(table["report"][3], "Nothing to be seen here at all.")).to_csv(
        tmp_path / "edited.csv", index=False
    )
    path, last = str(untouched / "checkpoints/last.ckpt"), ["--checkpoint", "last"]
    best = str(untouched / "checkpoints/best.ckpt")
    shutil.copy(path, tmp_path / "loose.ckpt")
    more = ["--trainer.max_epochs", "4"]
    for words, told in (
        (
            [*last, *more, "--data.strategy", "exact", "--data.split_seed", "7"],
            "rows that would be evaluated were trained",
        ),
        ([*last, *more, "--data.manifest", str(tmp_path / "fewer.csv"), *root], "another manifest"),
        (
            [*last, *more, "--data.manifest", str(tmp_path / "edited.csv"), *root],
            "column 'report' of 1 rows differs (s3)",
        ),
        ([*last, *more, "--model.objective.temperature", "0.5"], "objective.init_args.temperature 0.1, not 0.5"),
        ([*last, *more, "--model.embed_dim", "8"], "model.embed_dim 12, not 8"),
        ([*last, *more, "--model.optimizer", "torch.optim.SGD"], "torch.optim.AdamW, not torch.optim.SGD"),
        ([*last, *more, "--checkpoint.monitor", "val/text_to_image/MRR"], "checkpoint.monitor val/score, not"),
        (["--checkpoint", path, *more, "--seed_everything", "5"], "seed_everything 0, not 5"),
        (["--checkpoint", path, *more, "--runs", str(tmp_path)], "--init_from in place of"),
        (["--checkpoint", path, *more, "--experiment", "mine"], "--init_from in place of"),
        (["--checkpoint", best, *more], "in the middle of an epoch"),
        (["--checkpoint", str(tmp_path / "loose.ckpt"), *more], "lies in no run folder"),
        ([*last, "--trainer.max_epochs", "1"], "has 2 epochs already"),
    ):
        assert main(["fit", *options, *words]) == 1, words
        assert told in " ".join(capsys.readouterr().err.split()), words


def test_a_complete_run_is_left_as_it_is(
    options: list[str], untouched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *options, "--checkpoint", "last", "--model.optimizer.lr", "1e-9"]) == 0
    assert f"The run {untouched} is complete" in capsys.readouterr().out


def test_rate_and_decay_of_a_resume_hold_and_best_stays_best_in_a_moved_folder(
    options: list[str], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved" / run.parent.name / run.name
    shutil.copytree(run, moved)
    before = {name: torch.load(moved / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last")}
    monkeypatch.setattr("bimcvr.models.evaluation_loop.selection_score", lambda _: torch.tensor(-1.0))
    words = ["--checkpoint", "last", "--runs", str(tmp_path / "moved"), "--trainer.max_epochs", "3"]
    new = ["--model.optimizer.lr", "1e-7", "--model.optimizer.weight_decay", "0.5"]
    assert main(["fit", *options, *words, *new]) == 0
    best, last = (torch.load(moved / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert (best["epoch"], last["epoch"]) == (before["best"]["epoch"], 2), "a worse epoch came after"
    assert best["run"]["score"] == last["run"]["score"] == before["best"]["run"]["score"]
    decays = [group["weight_decay"] for group in last["optimizer_states"][0]["param_groups"]]
    assert decays == [0.5, 0.0]
    assert last["lr_schedulers"][0]["base_lrs"] == [1e-7, 1e-7]
    for name, value in before["last"]["state_dict"].items():
        # four steps of at most 1e-7 each, and the decay
        assert torch.allclose(last["state_dict"][name], value, rtol=0, atol=1e-6, equal_nan=True), name
    written = yaml.safe_load((moved / "config.yaml").read_text())["model"]["optimizer"]["init_args"]
    assert (written["lr"], written["weight_decay"]) == (1e-7, 0.5)


def test_rows_that_were_trained_on_are_refused_or_told(
    options: list[str], run: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / run.name
    shutil.copytree(run, mine)
    table = pd.read_csv(tiny_cohort)
    # eight of the training rows become test rows, under other names: the volumes are the same
    renamed = table.assign(study_id="new-" + table["study_id"], patient_id="new-" + table["patient_id"])
    renamed["split"] = ["test"] * 8 + ["train"] * 8 + ["val"] * 7 + ["test"] * 7
    renamed.to_csv(tmp_path / "renamed.csv", index=False)
    words = ["--checkpoint", str(mine / "checkpoints/best.ckpt"), "--data.root", str(tiny_cohort.parent)]
    words += ["--data.manifest", str(tmp_path / "renamed.csv")]
    assert main(["test", *words]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "of 15 rows 8 were trained on (new-s0, new-s1, new-s2, new-s3, new-s4 and 3 more)" in error
    assert main(["test", *words, "--allow_trained_rows"]) == 0
    assert capsys.readouterr().out.strip().split("\n\n")[1].startswith("data, 8 OF 15 ROWS TRAINED ON: split test")
    assert json.loads((mine / "result.json").read_text())["about"]["trained_on"] == {"rows": 8, "patients_rows": 0}
    assert main(["predict", *words]) == 0
    score = ["evaluate", str(mine / "embeddings_renamed.npz"), "--manifest", str(tmp_path / "renamed.csv")]
    assert main([*score, "--resamples", "20"]) == 1
    assert "of 15 rows 8 were trained on" in " ".join(capsys.readouterr().err.split())
    # another session of two patients that were trained on, whom the table did not name when it was embedded
    shared = renamed[renamed["study_id"].isin([f"new-s{number}" for number in range(23, 30)])].copy()
    shared.loc[shared.index[:2], "patient_id"] = ["p4", "p5"]
    shared.to_csv(tmp_path / "shared.csv", index=False)
    score = ["evaluate", str(mine / "embeddings_renamed.npz"), "--manifest", str(tmp_path / "shared.csv")]
    assert main([*score, "--resamples", "20"]) == 1
    assert "2 are of patients that were trained on (new-s23, new-s24)" in " ".join(capsys.readouterr().err.split())
    assert main([*score, "--resamples", "20", "--allow_trained_rows"]) == 0
    assert "2 OF 7 ROWS OF PATIENTS TRAINED ON" in capsys.readouterr().out.splitlines()[1]


def test_rows_that_only_have_names_of_the_training_are_scored_and_told(
    options: list[str], run: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / run.name
    shutil.copytree(run, mine)
    table = pd.read_csv(tiny_cohort)
    names = table.head(7)[["study_id", "patient_id"]]
    table.tail(7).assign(**{column: names[column].to_numpy() for column in names}).to_csv(tmp_path / "o.csv")
    words = ["--checkpoint", str(mine / "checkpoints/best.ckpt"), "--data.root", str(tiny_cohort.parent)]
    told = "7 rows have study or patient ids of the model's training, but none the volume or report"
    assert main(["test", *words, "--data.manifest", str(tmp_path / "o.csv")]) == 0
    assert f"WARNING: {told}" in " ".join(capsys.readouterr().out.split("\n\n")[1].split())
    assert json.loads((mine / "result.json").read_text())["about"]["namesakes"] == 7
    score = ["evaluate", str(mine / "embeddings.npz"), "--manifest", str(tmp_path / "o.csv"), "--resamples", "20"]
    assert main([*score, "--root", str(tiny_cohort.parent), "--html", str(tmp_path / "page.html")]) == 0
    assert f"WARNING: {told}" in " ".join(capsys.readouterr().out.split())
    assert "<b>Same names:</b> 7 rows have study or patient ids" in (tmp_path / "page.html").read_text()


def test_a_new_run_begins_with_the_weights_of_another_and_keeps_its_rows_apart(
    options: list[str], untouched: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(tiny_cohort)
    table["split"] = ["val"] * 4 + ["train"] * 19 + ["test"] * 7
    table.to_csv(tmp_path / "other.csv", index=False)
    start = ["--init_from", str(untouched / "checkpoints/best.ckpt"), "--runs", str(tmp_path / "runs")]
    start += ["--data.root", str(tiny_cohort.parent), "--trainer.max_epochs", "1", "--model.optimizer.lr", "0"]
    other = ["--data.manifest", str(tmp_path / "other.csv")]
    assert main(["fit", *options, *start, *other]) == 1
    assert "of 4 rows 4 were trained on (s0, s1, s2, s3)" in " ".join(capsys.readouterr().err.split())
    table.iloc[16:].assign(split=["train"] * 5 + ["val"] * 4 + ["test"] * 5).to_csv(tmp_path / "other.csv", index=False)
    assert main(["fit", *options, *start, *other]) == 0
    first = torch.load(untouched / "checkpoints/best.ckpt", weights_only=True)
    begun = torch.load(newest_run(tmp_path / "runs") / "checkpoints/last.ckpt", weights_only=True)
    for name, value in first["state_dict"].items():
        assert name == "first_sd" or torch.equal(begun["state_dict"][name], value), name
    known, own = (state["CTReportDataModule"]["trained_rows"]["study"] for state in (begun, first))
    assert len(known) == 16 + 5
    assert set(own.tolist()) < set(known.tolist())
    assert main(["fit", *options, *start, "--model.embed_dim", "8"]) == 1
    assert "project_image.weight ([12, 8] there, [8, 8] here)" in capsys.readouterr().err


def test_the_newest_run_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    for name in ("20261201-100000Z-0002-0", "20261201-180000Z-0001-0", "20261231-235959-0", "20261202-000000Z-0003-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    newest = newest_of(tmp_path, 0, "config.yaml")
    assert newest is not None
    assert newest.name == "20261201-100000Z-0002-0"
