"""What is best and what is last, in runs that validate seldom, often or never; and numbers that are out of range."""

from pathlib import Path

import pytest
import torch

from bimcvr.cli import main
from helpers.cli import newest_run


def held(run: Path, name: str) -> dict[str, object]:
    state: dict[str, object] = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)
    return state


def test_last_is_the_last_epoch_and_best_the_best_validation(
    tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bimcvr.models.evaluation_loop.selection_score", lambda _: torch.tensor(50.0))
    seldom = ["--trainer.check_val_every_n_epoch", "2", "--trainer.max_epochs", "5"]
    assert main(["fit", *tiny_config, *seldom]) == 0
    run = newest_run(tmp_path / "runs")
    assert (held(run, "last")["epoch"], held(run, "best")["epoch"]) == (4, 1), "the first of equal scores is kept"
    scores = iter([1.0, 4.0, 3.0, 4.0])
    monkeypatch.setattr("bimcvr.models.evaluation_loop.selection_score", lambda _: torch.tensor(next(scores)))
    assert main(["fit", *tiny_config, "--trainer.val_check_interval", "0.5"]) == 0
    run = newest_run(tmp_path / "runs")
    best, last = held(run, "best"), held(run, "last")
    assert (best["global_step"], last["global_step"]) == (4, 8)
    assert "optimizer_states" not in best, "it is to be evaluated, not resumed"


def test_a_run_without_a_score_says_so_and_one_cut_in_an_epoch_is_complete(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", *tiny_config, "--checkpoint", "last", "--trainer.max_steps"]
    assert main([*words, "3"]) == 0
    run = newest_run(tmp_path / "runs")
    assert "There is no best.ckpt: training ended without a score on val" in (told := capsys.readouterr().out)
    assert f"--checkpoint {run / 'checkpoints/last.ckpt'}" in told
    assert main([*words, "3"]) == 0
    assert "is complete" in capsys.readouterr().out
    assert main([*words, "7"]) == 1
    assert "--init_from" in capsys.readouterr().err


def test_numbers_out_of_range_are_told_before_training(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        (["--model.warmup", "500"], "a share of all steps"),
        (["--model.warmup", "-0.5"], "a share of all steps"),
        (["--model.embed_dim", "0"], "model.embed_dim is 0"),
        (["--model.objective.temperature", "0"], "temperature is 0.0: it must be above 0"),
        (["--model.objective.temperature", "2"], "between 0.01 and 1 where learn_temperature is true"),
        (["--model.objective.alpha", "-1"], "model.objective.alpha is -1.0"),
        (["--data.batch_size", "0"], "data.batch_size is 0: it must be 1 or more"),
        (["--data.batch_size", "1"], "no negatives"),
        (["--data.eval_batch_size", "0"], "data.eval_batch_size is 0"),
        (["--data.num_workers", "-1"], "data.num_workers is -1: it must be 0 or more"),
        (["--data.cutmix", "2"], "data.cutmix is 2.0"),
        (["--seed_everything", "false"], "seed_everything is false"),
        (["--seed_everything", "-1"], "seed_everything is -1"),
        (["--checkpoint.monitor", "val/loss"], "'val/loss', which is not logged. Choose one of val/image_to_text/MRR"),
        (["--checkpoint.monitor", "val/text_to_image/MnR"], "is the lowest: set checkpoint.mode to min"),
        (["--checkpoint.save_top_k", "3"], "checkpoint.save_top_k cannot be set"),
    ):
        assert main(["fit", *tiny_config, *words]) == 1, words
        assert told in " ".join(capsys.readouterr().err.split()), words
    assert not list((tmp_path / "runs").rglob("*.ckpt"))


def test_a_path_at_home_is_at_home(
    tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *tiny_config, "--trainer.max_steps", "1", "--runs=~/mine"]) == 0
    assert len(list((tmp_path / "mine/tiny").glob("*/config.yaml"))) == 1
    assert main(["evaluate", "~/gone.npz", "--manifest=~/gone.csv"]) == 1
    assert f"no manifest at {tmp_path / 'gone.csv'}" in capsys.readouterr().err
    assert not (tmp_path / "~").exists()
