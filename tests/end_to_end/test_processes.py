"""Two and three gloo processes against one, and killed runs against undisturbed ones."""

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from bimcvr.evaluation.embeddings import load_embeddings
from helpers.cli import newest_run
from helpers.forks import Forked, run_ranks

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
ONE_STEP = [
    "--trainer.max_steps",
    "1",
    "--trainer.limit_val_batches",
    "0",
    "--trainer.precision",
    "64-true",
    "--model.optimizer",
    "torch.optim.SGD",
    "--model.optimizer.lr",
    "1.0",
    "--model.objective.discrimination",
    "0.5",
]


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if "first_sd" not in name}


ALL_REPORTS = ["--model.objective.double_reports", "false", "--model.objective.all_reports", "true"]


@pytest.mark.slow
@pytest.mark.parametrize(("both", "chunks"), [([], []), (ALL_REPORTS, ["--model.chunk_size", "3"])])
def test_one_step_of_two_processes_is_one_step_of_one(
    both: list[str], chunks: list[str], tiny_config: list[str], tmp_path: Path
) -> None:
    """SGD with a rate of 1 makes the step the gradient itself: every parameter's gradient, to 1e-6."""
    words = ["fit", *tiny_config, *ONE_STEP, *both]
    assert main([*words, "--data.batch_size", "8", "--experiment", "one"]) == 0
    two = Forked([*words, *chunks, "--data.batch_size", "4", "--experiment", "two", *TWO], tmp_path / "log")
    assert two.wait() == 0, (tmp_path / "log").read_text()
    assert main([*words, "--data.batch_size", "8", "--experiment", "start", "--model.optimizer.lr", "0.0"]) == 0
    begun, alone, together = (weights(next((tmp_path / "runs" / name).iterdir())) for name in ("start", "one", "two"))
    assert "objective.log_scale" in alone
    for name, value in alone.items():
        gradient, other = begun[name] - value, begun[name] - together[name]
        assert gradient.abs().max() > 1e-5, f"{name} got no gradient"
        torch.testing.assert_close(other, gradient, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
def test_one_two_and_three_processes_score_alike(tiny_config: list[str], tmp_path: Path) -> None:
    """Seven studies: the last batch of two and of three processes is filled up with copies."""
    assert main(["fit", *tiny_config]) == 0
    run = newest_run(tmp_path / "runs")
    results, validated, embeddings = {}, {}, {}
    for count in (1, 2, 3):
        copy = tmp_path / str(count)
        shutil.copytree(run, copy)
        shutil.rmtree(copy / "logs")
        words = ["--ckpt_path", str(copy / "checkpoints/best.ckpt")]
        for verb in ("validate", "test"):
            if count == 1:
                assert main([verb, *words]) == 0
                continue
            devices = ["--trainer.devices", str(count), "--trainer.strategy", "ddp"]
            run_ranks(count, [verb, *words, *devices], tmp_path / "log")
        results[count] = json.loads((copy / "result.json").read_text())
        validated[count] = (
            pd.concat(pd.read_csv(path) for path in copy.glob("logs/version_*/metrics.csv"))
            .filter(like="val/")
            .dropna()
        )
        embeddings[count] = load_embeddings(copy / "embeddings.npz")
        assert (results[count]["about"]["processes"], results[count]["n_queries"]) == (count, 7)
        # the image tower's batches differ in size, so float32 differs in its last bits; never the figures computed from
        # it
        assert torch.allclose(embeddings[count].image, embeddings[1].image, rtol=0, atol=1e-5)
        assert torch.allclose(embeddings[count].text, embeddings[1].text, rtol=0, atol=1e-5)
        assert results[count]["metrics"] == results[1]["metrics"]
        assert results[count]["intervals"] == results[1]["intervals"]
        pd.testing.assert_frame_equal(validated[count].reset_index(drop=True), validated[1].reset_index(drop=True))
        assert len(validated[count]) == 1


def epochs_done(runs: Path) -> int:
    found = list(runs.glob("*/*/checkpoints/last.ckpt"))
    return torch.load(found[0], weights_only=True)["epoch"] + 1 if found else 0


def best(run: Path) -> tuple[int, list[float]]:
    """The epoch that `best.ckpt` holds, and the best scores that both checkpoints note."""
    kept = [torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last")]
    return kept[0]["epoch"], [of["run"]["score"] for of in kept]


def last_figures(run: Path) -> pd.DataFrame:
    logs = sorted(run.glob("logs/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    table = pd.read_csv(logs[-1])
    return table.filter(like="val/").dropna().tail(1).reset_index(drop=True)


@pytest.mark.slow
def test_a_run_killed_after_an_epoch_ends_as_an_undisturbed_one(tiny_config: list[str], tmp_path: Path) -> None:
    words = ["fit", *tiny_config, "--trainer.max_epochs", "8", "--ckpt_path", "last", "--data.num_workers", "1"]
    assert main([*words, "--runs", str(tmp_path / "whole")]) == 0
    cut = [*words, "--runs", str(tmp_path / "cut")]
    process = Forked(cut, tmp_path / "log")
    deadline = time.monotonic() + 120
    while epochs_done(tmp_path / "cut") < 2 and time.monotonic() < deadline and process.wait(0.02) is None:
        pass
    process.kill()
    assert 2 <= epochs_done(tmp_path / "cut") < 8
    assert main(cut) == 0
    assert len(list((tmp_path / "cut").glob("*/*"))) == 1  # it went on in the same folder
    whole, resumed = newest_run(tmp_path / "whole"), newest_run(tmp_path / "cut")
    pd.testing.assert_frame_equal(last_figures(whole), last_figures(resumed))
    assert best(whole) == best(resumed)
    first, second = weights(whole), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)
