"""A fit that is killed at random moments, with random options, ends as an undisturbed one: figures and weights.

`BIMCVR_KILLS=50 python -m pytest tests/end_to_end/test_random_kills.py` kills it more often than the three times here;
`BIMCVR_KILLS_TEXT=bimcvr.models.MiniLM` trains with another text encoder, `BIMCVR_KILLS_PROCESSES=2` in two processes,
and `BIMCVR_KILLS_SEED` draws other options and moments.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bimcvr.cli import main
from helpers.cli import environment, newest_run
from helpers.forks import Forked

KILLS = int(os.environ.get("BIMCVR_KILLS", "3"))
TEXT = os.environ.get("BIMCVR_KILLS_TEXT", "helpers.toy_modules.HashText")
PROCESSES = os.environ.get("BIMCVR_KILLS_PROCESSES", "1")
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


class OnItsOwn:
    """A fit as a user starts it: Lightning starts the processes of other devices by the same command line."""

    def __init__(self, words: list[str], out: Path) -> None:
        command = [sys.executable, "-m", "bimcvr", *words]
        with out.open("ab") as stream:
            self._process = subprocess.Popen(
                command, env=environment(), stdout=stream, stderr=stream, start_new_session=True
            )
        self.pid = self._process.pid

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, None if it still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


Started = Forked if PROCESSES == "1" else OnItsOwn


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


def run_to_its_end(words: list[str], out: Path) -> None:
    """Start a fit and let it end."""
    code = Started(words, out).wait(300)
    assert code == 0, out.read_text()[-3000:]


def killed_until_done(words: list[str], out: Path, draw: random.Random, seconds: float, kills: int) -> int:
    """Start a fit again and again, and end it at random moments `kills` times; then let it end."""
    for done in range(kills):
        process = Started(words, out)
        code = process.wait(draw.uniform(0.0, 1.3 * seconds))
        if code == 0:
            return done
        assert code is None, out.read_text()[-3000:]
        os.kill(process.pid, draw.choice(SIGNALS))
        assert process.wait(60) is not None, "it does not end"
        until = time.monotonic() + 10
        while (left := processes_of(process.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, "a process is left"
    run_to_its_end(words, out)
    return kills


def test_killed_at_random_moments_a_fit_ends_as_an_undisturbed_one(tiny_config: list[str], tmp_path: Path) -> None:
    draw, killed, part = random.Random(int(os.environ.get("BIMCVR_KILLS_SEED", "0"))), 0, 0  # noqa: S311
    base = ["fit", *tiny_config, "--model.text_encoder", TEXT, "--trainer.max_epochs", EPOCHS, "--checkpoint", "last"]
    if PROCESSES != "1":  # as many batches an epoch as with one
        base += ["--trainer.devices", PROCESSES, "--trainer.strategy", "ddp", "--data.batch_size", "2"]
    while killed < KILLS:
        part += 1
        words = [*base, *(word for name, values in CHOICES.items() for word in (name, draw.choice(values))), "--runs"]
        began = time.monotonic()
        whole = [*words, str(tmp_path / f"whole{part}")]
        if PROCESSES == "1":
            assert main(whole) == 0
        else:
            run_to_its_end(whole, tmp_path / "log")
        seconds = time.monotonic() - began
        killed += killed_until_done(
            [*words, str(tmp_path / f"cut{part}")], tmp_path / "log", draw, seconds, min(5, KILLS - killed)
        )
        assert_same(run_of(tmp_path / f"cut{part}"), run_of(tmp_path / f"whole{part}"), words)
        print(f"part {part}: the same after {killed} kills in all", flush=True)
