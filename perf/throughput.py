"""Training speed of real-size models on random volumes: with data from disk and without, memory, and use of the device.

    python perf/throughput.py --config experiments/bimcv_r/base.yaml --config experiments/bimcv_r/paper.yaml
    python perf/throughput.py --smoke true

Takes the options of `fit`; without data.manifest it writes a cache of smooth noise on the model's grid. The text
encoder is left out: a frozen one's features are kept after the first epoch, so random vectors take their place. Prints
what it measured: the step's parts beside the encoder's own forward and backward pass, what the loader yields alone, and
both together. With --out it appends that to a file of JSON rows. Share of the peak (MFU) only with --peak_tflops, the
device's speed at this precision as its maker states it.
"""

import itertools
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.cli import LightningArgumentParser
from step_timing import StepTimes, filled, loader_rate, over_batches, parts_of_step, views_of
from synthetic_cache import write_cohort
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.errors import UserError
from bimcvr.models.part_checks import check_grid
from bimcvr.models.profiling.train_step import (
    make_optimizer,
    peak_bytes,
    random_batch,
    reset_peak,
    volume_step,
)
from bimcvr.presets import resolve_presets
from bimcvr.provenance import git_commit, versions
from bimcvr.training.dry_run import DryRunCLI
from bimcvr.training.lightning_cli import command_line

SMALL = """
data: {size: [16, 32, 32], batch_size: 2}
model:
  volume_encoder: {class_path: bimcvr.models.ResNet3D, init_args: {depth: 10, width: 4}}
"""


class ThroughputCLI(DryRunCLI):
    """The options of a dry run, and the benchmark's own."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what only the benchmark asks."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--steps", type=int, default=20, help="Steps that are timed, after 3 that are not.")
        parser.add_argument("--pairs", type=int, default=7, help="Pairs of a step and the encoder alone.")
        parser.add_argument(
            "--compile", type=str | None, default=None, help="Backend of torch.compile for the volume encoder."
        )
        parser.add_argument(
            "--out", type=Path | None, default=None, help="File of JSON rows that the result is appended to."
        )

    def look_ahead(self) -> None:
        """Look for no fault of the data: where none are given, noise is written later."""


def main(arguments: list[str]) -> int:
    """Measure, print, and append to --out."""
    with tempfile.TemporaryDirectory() as folder:
        words = resolve_presets(arguments)
        if "--smoke" in words:
            place = words.index("--smoke")
            del words[place : place + 2]
            (Path(folder) / "small.yaml").write_text(SMALL)
            words = ["--config", f"{folder}/small.yaml", "--steps", "3", *words]
        own = any(word.startswith("--data.manifest") for word in words)
        if not own:  # the noise is written once its size is known
            words += ["--data.manifest", str(Path(folder) / "none.csv")]
            (Path(folder) / "none.csv").write_text("study_id,volume,report\n0,0.nii.gz,noise\n")
        words += ["--model.text_encoder", f"{Path(__file__).stem}.NoText"]
        try:
            cli = command_line(["fit", *words], ThroughputCLI)
        except UserError as error:
            print(error, file=sys.stderr)
            return 1
        data = cli.datamodule if own else _noise(cli.datamodule, Path(folder))
        row = measure(cli, data)
    print(json.dumps(row, indent=2))
    if out := cli.config["fit"].out:
        with Path(out).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    return 0


class NoText(torch.nn.Module):
    """Stands where the text encoder does, with the width of BiomedCLIP's vectors."""

    dim = 512

    def forward(self, texts: list[str]) -> Tensor:
        """Return random vectors (B, 512)."""
        return torch.randn(len(texts), self.dim)


def measure(cli: Any, data: CTReportDataModule) -> dict[str, Any]:
    """Time the step on one batch that stays on the device, then on batches that come from disk through the views."""
    options, model = cli.config["fit"], cli.model
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision, batch, views = str(options.trainer.precision or "32-true"), data.batch_size, len(data.views)
    model.to(device).train()
    optimizer = make_optimizer(model)
    check_grid(model.volume_encoder, data.grid)
    one = random_batch(model, batch, views, data.cache.size, device)
    with FlopCounterMode(display=False) as counter:
        volume_step(model, *one, precision)
    if options.compile:
        model.volume_encoder.compile(backend=options.compile)
    text = one[1]

    def step(views_of_batch: Tensor) -> None:
        volume_step(model, views_of_batch, text, precision)
        optimizer.step()
        optimizer.zero_grad()

    optimizer.zero_grad()
    reset_peak(device)
    without = over_batches(step, itertools.repeat(one[0]), lambda views: views, device, options.steps)
    peak = peak_bytes(device)
    parts = parts_of_step(model, *one, precision, optimizer, options.pairs)
    data.setup("fit")
    loaded = loader_rate(data, seconds=0 if options.steps < 10 else 5)
    with_data = over_batches(step, filled(data), views_of(data, device), device, options.steps)
    flops = int(counter.get_total_flops())
    row = {
        "host": platform.node(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": git_commit(),
        "precision": precision,
        "compile": options.compile,
        "volume_encoder": type(model.volume_encoder).__name__,
        "checkpointing": bool(getattr(model.volume_encoder, "checkpointing", False)),
        "parameters": sum(weight.numel() for weight in model.volume_encoder.parameters()),
        "size": list(data.cache.size),
        "data": "noise" if data.manifest.path.name == "noise.csv" else data.manifest.path.name,
        "batch": batch,
        "views": views,
        "workers": data.num_workers,
        "views_on_device": data.views_on_device,
        "keep_in_memory": data.keep_in_memory,
        "steps": options.steps,
        "operations_a_step": flops,
        "peak_gib": round(peak / 2**30, 3),
        "peak_of": "tensors on the GPU" if device.type == "cuda" else "the whole process",
        "parts_of_step": parts,
        "loader_alone": {
            "studies_a_second": round(loaded, 3),
            "studies_a_second_per_process": round(loaded / max(1, data.num_workers), 3),
        },
    }
    for name, times in (("without_data", without), ("with_data", with_data)):
        seconds = times.whole
        median = float(np.median(seconds))
        row[name] = {
            "seconds_a_step": round(median, 5),
            "fastest": round(min(seconds), 5),
            "wait_for_batch": _share(times.wait, times),
            "views_on_device": _share(times.views, times),
            "studies_a_second": round(batch / median, 3),
            "views_a_second": round(batch * views / median, 3),
            "tflops": round(flops / median / 1e12, 4),
        }
        if options.peak_tflops:
            row[name]["mfu"] = round(flops / median / 1e12 / options.peak_tflops, 4)
    return row


def _share(part: list[float], times: StepTimes) -> float:
    return round(sum(part) / sum(times.whole), 4)


def _noise(data: CTReportDataModule, folder: Path) -> CTReportDataModule:
    """Write a cache of noise, four batches for training; return a datamodule like `data` over it."""
    manifest = write_cohort(folder, data.cache.size, 4 * data.batch_size).rename(folder / "noise.csv")
    first, *second = data.views
    return CTReportDataModule(
        str(manifest),
        size=data.cache.size,
        window=data.window,
        view_1=first,
        view_2=second[0] if second else None,
        two_views=bool(second),
        cutmix=data.cutmix,
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        read_ahead=data.read_ahead,
        views_on_device=data.views_on_device,
        keep_in_memory=data.keep_in_memory,
        seed=data.seed,
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
