"""A tiny cohort on disk, and the command line as a user calls it."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

TESTS = Path(__file__).parent
SIDES, LEVELS = ("right", "left"), ("upper", "middle", "lower")


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 30 small volumes with a bright ball whose place the report tells; split by hand."""
    folder = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        side, level = number % 2, number // 2 % 3
        volume = rng.normal(-800, 30, (18, 20, 20))
        volume[2 + 5 * level : 6 + 5 * level, 8:13, 3 + 9 * side : 8 + 9 * side] = 60 + number
        image = sitk.GetImageFromArray(volume.astype(np.int16))
        image.SetSpacing((3.0, 3.0, 4.0))
        sitk.WriteImage(image, str(folder / f"s{number}.nii.gz"))
        rows.append({
            "study_id": f"s{number}", "volume": f"s{number}.nii.gz",
            "report": f"There is a nodule in the {SIDES[side]} {LEVELS[level]} zone, case number {number} of the series.",
            "patient_id": f"p{number}", "labels": "nodule;" + SIDES[side],
            "split": "train" if number < 16 else "val" if number < 23 else "test",
        })
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


TINY = """
experiment: tiny
trainer: {accelerator: cpu, max_epochs: 2, precision: 32-true, logger: false, enable_progress_bar: false, enable_model_summary: false}
data: {size: [12, 16, 16], batch_size: 4, eval_batch_size: 3}
model:
  embed_dim: 12
  volume_encoder: {class_path: toys.PlainConv}
  text_encoder: {class_path: toys.HashText}
  fusion: bimcvr.models.fusion.ChannelGate
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.01}}
  objective:
    class_path: bimcvr.models.objectives.Objective
    init_args: {symmetric: true, temperature: 0.1, learn_temperature: true, normalise_views: true}
"""


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_cohort: Path) -> list[str]:
    """Options for a run of seconds on the tiny cohort, with its runs in the test's own folder."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return ["--config", str(tmp_path / "tiny.yaml"), "--data.manifest", str(tiny_cohort), "--runs", str(tmp_path / "runs")]


@pytest.fixture
def unused_port() -> int:
    """A TCP port on this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """The environment of a child process that can import the toys."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def bimcvr(*words: str | Path, timeout: float = 300, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m bimcvr` in a process of its own."""
    command = [sys.executable, "-m", "bimcvr", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment(), cwd=cwd, check=False)


def newest_run(runs: Path) -> Path:
    """The folder of the newest run."""
    return max(runs.glob("*/*"), key=lambda path: path.name)


def message_of(done: subprocess.CompletedProcess[str] | Sequence[str]) -> str:
    """What a failed call told the user: the last paragraph of its error stream."""
    text = done.stderr if isinstance(done, subprocess.CompletedProcess) else "\n".join(done)
    return text.strip().rsplit("\n\n", 1)[-1]
