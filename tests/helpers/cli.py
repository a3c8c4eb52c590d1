"""The command line as a user calls it, and the configuration of a tiny run."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
EXPERIMENTS = ROOT / "src/bimcvr/experiments"

TINY = """
experiment: tiny
trainer: {accelerator: cpu, max_epochs: 2, precision: 32-true, logger: false, enable_progress_bar: false,
enable_model_summary: false}
data: {size: [12, 16, 16], batch_size: 4, eval_batch_size: 3}
model:
  embed_dim: 12
  volume_encoder: {class_path: helpers.toy_modules.PlainConv}
  text_encoder: {class_path: helpers.toy_modules.HashText}
  fusion: bimcvr.models.ChannelGate
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.01}}
  objective:
    class_path: bimcvr.models.Objective
    init_args: {symmetric: true, temperature: 0.1, learn_temperature: true, normalise_views: true}
"""


def environment() -> dict[str, str]:
    """The environment of a child process that can import the helpers.toy_modules."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def bimcvr(*words: str | Path, timeout: float = 300, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m bimcvr` in a process of its own."""
    command = [sys.executable, "-m", "bimcvr", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(), cwd=cwd, check=False
    )


def newest_run(runs: Path) -> Path:
    """The folder of the newest run."""
    return max(runs.glob("*/*"), key=lambda path: path.name)


def message_of(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed call told the user: the last paragraph of its error stream."""
    return done.stderr.strip().rsplit("\n\n", 1)[-1]
