"""A fit that is killed at random moments, with random options, ends as an undisturbed one: figures and weights.

`BIMCVR_KILLS=50 python -m pytest tests/end_to_end/test_random_kills.py` kills it more often than the three times here.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bimcvr.cli import main
from helpers.cli import newest_run

KILLS = int(os.environ.get("BIMCVR_KILLS", "3"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CHOICES: dict[str, tuple[str, ...]] = {
    "--trainer.val_check_interval": ("1.0", "0.5", "3"),
    "--trainer.check_val_every_n_epoch": ("1", "2", "3"),
    "--trainer.accumulate_grad_batches": ("1", "2", "3"),
    "--trainer.log_every_n_steps": ("1", "10"),
    "--checkpoint.monitor": ("val/score", "val/text_to_image/MRR"),
    "--data.cutmix": ("0", "0.5"),
    "--model.warmup": ("0", "0.3"),
}
EPOCHS = "6"


def fit(words: list[str], out: str) -> None:
    """Fit in a session of its own, whose processes can be found."""
    os.setsid()
    stream = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.exit(main(words))


def processes_of(session: int) -> list[str]:
    """The processes of a session that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = entry.read_text().rsplit(")", 1)[1].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(entry.parent.name)
    return found


def run_of(runs: Path) -> dict[str, Any]:
    """What a run ends with: both checkpoints' weights, epochs and best score, and the scores that were logged."""
    folder = newest_run(runs)
    kept = {name: torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last")}
    tables = [pd.read_csv(path) for path in folder.glob("logs/version_*/metrics.csv") if path.stat().st_size]
    # an epoch that was trained again has the same figures again
    scores = pd.concat(tables).filter(regex="^val/|^epoch|^step").dropna().drop_duplicates().sort_values("step")
    return {"kept": kept, "scores": scores.reset_index(drop=True)}


def assert_same(cut: dict[str, Any], whole: dict[str, Any], words: list[str]) -> None:
    for name, state in whole["kept"].items():
        other = cut["kept"][name]
        assert (other["epoch"], other["global_step"]) == (state["epoch"], state["global_step"]), (name, words)
        assert other["run"] == state["run"], (name, words)
        for key, value in state["state_dict"].items():
            assert torch.equal(other["state_dict"][key], value), (name, key, words)
    for mine, others in zip(
        whole["kept"]["last"]["optimizer_states"], cut["kept"]["last"]["optimizer_states"], strict=True
    ):
        for key, state in mine["state"].items():
            assert all(
                torch.equal(torch.as_tensor(value), torch.as_tensor(others["state"][key][name]))
                for name, value in state.items()
            )
    pd.testing.assert_frame_equal(cut["scores"], whole["scores"])


def killed_until_done(words: list[str], out: Path, draw: random.Random, seconds: float, kills: int) -> int:
    """Start a fit again and again, and end it at random moments `kills` times; then let it end."""
    context = multiprocessing.get_context("forkserver")
    done = 0
    while True:
        process = context.Process(target=fit, args=(words, str(out)))
        process.start()
        if done == kills:
            process.join(300)
            assert process.exitcode == 0, out.read_text()[-3000:]
            return done
        process.join(draw.uniform(0.0, 1.3 * seconds))
        if process.exitcode == 0:
            return done
        os.kill(process.pid or 0, draw.choice(SIGNALS))
        process.join(60)
        assert process.exitcode is not None, "it does not end"
        done += 1
        until = time.monotonic() + 10
        while process.pid and processes_of(process.pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert not processes_of(process.pid or 0), "a process is left"


def test_killed_at_random_moments_a_fit_ends_as_an_undisturbed_one(tiny_config: list[str], tmp_path: Path) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["bimcvr.training.lightning_cli", "torchio"])
    draw, killed, part = random.Random(int(os.environ.get("BIMCVR_KILLS_SEED", "0"))), 0, 0  # noqa: S311
    while killed < KILLS:
        part += 1
        options = [word for name, values in CHOICES.items() for word in (name, draw.choice(values))]
        words = ["fit", *tiny_config, *options, "--trainer.max_epochs", EPOCHS, "--checkpoint", "last", "--runs"]
        began = time.monotonic()
        assert main([*words, str(tmp_path / f"whole{part}")]) == 0
        seconds = time.monotonic() - began
        killed += killed_until_done(
            [*words, str(tmp_path / f"cut{part}")], tmp_path / "log", draw, seconds, min(5, KILLS - killed)
        )
        assert_same(run_of(tmp_path / f"cut{part}"), run_of(tmp_path / f"whole{part}"), words)
