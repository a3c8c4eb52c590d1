"""How long `fit` takes to its first step on a filled cache, and the parts of that time.

    python perf/first_step.py [--studies 2000] [--runs 7]

Each run is a process of its own, as a user starts it: the small volumes (16 × 32 × 32) are on disk already, in the
cache of a manifest with checksums, as `curate` writes it. The encoder and the text encoder are tiny, so that what is
timed is reading the manifest, finding the cache entries and starting the trainer. As the floor, Lightning's import.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from synthetic_cache import write_cohort

SIZE = (16, 32, 32)
CONFIG = """
trainer: {accelerator: cpu, max_epochs: 1, precision: 32-true, enable_progress_bar: false, logger: false,
  callbacks: [first_step.Mark]}
data: {size: [16, 32, 32], batch_size: 4, eval_batch_size: 4}
model:
  embed_dim: 16
  text_encoder: {class_path: gpu_setup.HashText}
  volume_encoder: {class_path: bimcvr.models.ResNet3D, init_args: {depth: 10, width: 2, max_pool: false}}
"""
MARKS = {"setup": "imports, parser, parts of the model", "on_train_start": "data and checks", "first": "first step"}


class Mark(Callback):
    """Writes down the time of each stage, and ends the process after the first step."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Everything is built; the data are prepared before and set up after it."""
        _mark("setup")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All checks are done."""
        _mark("on_train_start")

    def on_train_batch_end(self, *_: object) -> None:
        """End the process."""
        _mark("first")
        os._exit(0)


def _mark(name: str) -> None:
    with Path(os.environ["FIRST_STEP_MARKS"]).open("a", encoding="utf-8") as stream:
        stream.write(f"{name} {time.time()}\n")


def main() -> None:
    """Time runs and Lightning's import in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"import pytorch_lightning": [], **{text: [] for text in MARKS.values()}, "all": []}
    here = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_cohort(folder, SIZE, options.studies - 20, others=10)
        (folder / "fit.yaml").write_text(CONFIG, encoding="utf-8")
        words = ["--config", str(folder / "fit.yaml"), "--data.manifest", str(manifest), "--runs", str(folder / "runs")]
        for run in range(options.runs):
            marks = folder / f"marks{run}"
            environment = {**os.environ, "PYTHONPATH": path, "FIRST_STEP_MARKS": str(marks)}
            began = time.time()
            subprocess.run([sys.executable, "-c", "import pytorch_lightning"], check=True, env=environment)
            found["import pytorch_lightning"].append(time.time() - began)
            began = last = time.time()
            command = [sys.executable, "-m", "bimcvr", "fit", *words]
            subprocess.run(command, check=True, env=environment, capture_output=True, cwd=folder)
            times = dict(line.split() for line in marks.read_text().splitlines())
            for mark, text in MARKS.items():
                found[text].append(float(times[mark]) - last)
                last = float(times[mark])
            found["all"].append(last - began)
    print(f"{options.studies} studies, seconds, median of {options.runs}:")
    for text, taken in found.items():
        print(f"{text:<40}{statistics.median(taken):6.2f}")


if __name__ == "__main__":
    main()
