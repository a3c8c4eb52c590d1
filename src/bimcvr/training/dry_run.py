"""What a `fit` would take: parameters, memory, disk and time, from its options alone."""

import shutil
from typing import Any

import numpy as np
from pytorch_lightning.cli import LightningArgumentParser

from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.models.profiling.measure import MEASURED_STEPS, measure_step
from bimcvr.models.profiling.memory import Footprint, footprint, parameters
from bimcvr.models.retriever import Retriever
from bimcvr.training.lightning_cli import RetrieverCLI
from bimcvr.training.trainer_options import (
    batches_an_epoch,
    limited,
    world_size,
)

GIB = 2**30


class DryRunCLI(RetrieverCLI):
    """The options of `fit`, and the dry run's own; it makes model and data, but no trainer and no run folder."""

    @classmethod
    def switches(cls) -> frozenset[str]:
        """Return the options that are true or false."""
        return super().switches() | {"--measure"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a dry run alone."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--measure", type=bool, default=False, help=f"time {MEASURED_STEPS} real steps on this machine's device"
        )
        parser.add_argument(
            "--peak_tflops",
            type=float | None,
            default=None,
            help=(
                "the device's stated speed at this precision, in 10^12 operations a second (TFLOPS), for the estimate"
                " of time"
            ),
        )
        parser.add_argument(
            "--mfu", type=float, default=0.3, help="the share of --peak_tflops that a step is assumed to reach"
        )

    def before_instantiate_classes(self) -> None:
        """Look for what `fit` refuses."""
        self._look_at_settings()

    def start(self) -> None:
        """Make no run folder and no trainer: the devices it asks for need not be here."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass

    def report(self) -> str:
        """Return parameters, memory, disk and time as text that says which of them are estimates."""
        config, trainer = self.config["fit"], self.config["fit"].trainer
        model: Retriever = self.model
        data: CTReportDataModule = self.datamodule
        processes = world_size(trainer.devices, int(trainer.num_nodes), trainer.accelerator)
        batch, views, precision = data.batch_size, len(data.views), precision_of(trainer.precision, trainer.accelerator)
        train = len(data.split.rows("train"))
        lines = [*_parameters(model), *_text_tower(model), *_data(data, self.kept or 0)]
        batches = limited(batches_an_epoch(train, batch, processes), trainer.limit_train_batches)
        together = int(trainer.accumulate_grad_batches)
        epoch = -(-batches // together)
        total = steps_in_all(epoch, trainer.max_epochs, trainer.max_steps)
        lines += [
            f"steps: {epoch:,} an epoch of {batch} studies × {processes}"
            f" processes{f' × {together} batches' * (together > 1)}, {total:,} in all"
            + f"; {model.chunk_size} studies are run at a time" * (0 < (model.chunk_size or 0) < batch)
            + (f", unless trainer.max_time {trainer.max_time} ends them before" if trainer.max_time else "")
        ]
        # a step of the optimiser consists of several passes; a pass is what is counted and timed
        passes = round(total * batches / epoch)
        if precision == "64-true":
            model.double()
        measured = measure_step(model, batch, views, data.cache.size, precision) if config.measure else None
        needs = footprint(model, batch, views, data.cache.size, precision)
        buckets = needs.gradients if processes > 1 and not _gradients_are_bucket_views(trainer.strategy) else 0
        lines += _memory(needs, buckets, precision)
        if model.objective.all_reports:
            lines += _all_reports(model, train, batch)
        lines += [f"operations: {needs.flops / 1e12:.4g} × 10^12 a step and process, forward and backward (counted)"]
        if config.peak_tflops:
            seconds = needs.flops / (config.peak_tflops * 1e12 * config.mfu)
            lines += [
                f"time, estimate: {seconds:.4g} s a step at {config.mfu:.0%} of the stated {config.peak_tflops:g}"
                f" TFLOPS; {_duration(seconds * passes)} for all steps, without loading, validation and communication"
            ]
        elif not config.measure:
            lines += ["time: not estimated; state the device's speed as --peak_tflops, or measure here with --measure"]
        if measured:
            seconds, peak, device = measured
            lines += [
                (
                    f"time, measured: {seconds:.3f} s a step on {device} (median of {MEASURED_STEPS}, random volumes,"
                    f" one process); {_duration(seconds * passes)} for all steps at this speed"
                ),
                (
                    f"memory, measured: {peak / GIB:.3f} GiB at the peak of a step on {device}, weights and optimiser"
                    " included"
                ),
            ]
        return "\n".join(lines)


def precision_of(precision: str | int | None, accelerator: str) -> str:
    """Return the precision that the trainer computes in, by its full name.

    Args:
        precision: `trainer.precision`, such as 16, bf16-mixed or None.
        accelerator: `trainer.accelerator`; the CPU computes bf16-mixed for 16-mixed.
    """
    full = {"None": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
    name = full.get(str(precision), str(precision))
    return "bf16-mixed" if name == "16-mixed" and accelerator == "cpu" else name


def steps_in_all(epoch: int, max_epochs: int | None, max_steps: int) -> int:
    """Return how many steps the trainer ends after.

    Args:
        epoch: steps an epoch.
        max_epochs: the trainer's; -1 is no end, and None is Lightning's 1000 where `max_steps` sets none either.
        max_steps: the trainer's; -1 is no end. One of both has an end.
    """
    if max_epochs is None:
        max_epochs = 1000 if max_steps < 0 else -1
    return min(end for end in (epoch * max_epochs, max_steps) if end >= 0)


def _parameters(model: Retriever) -> list[str]:
    counted = parameters(model)
    lines = [f"{'parameters':<18}{'trainable':>14}{'frozen':>14}"]
    lines += [f"  {name:<16}{trained:>14,}{frozen:>14,}" for name, (trained, frozen) in counted.items()]
    lines += [f"  {'all':<16}{sum(t for t, _ in counted.values()):>14,}{sum(f for _, f in counted.values()):>14,}"]
    return lines


def _text_tower(model: Retriever) -> list[str]:
    trained, _ = parameters(model)["text_encoder"]
    return (
        [
            f"not counted below: the text tower is trained ({trained:,} parameters); its gradients, optimiser's states,"
            " activations and time come on top"
        ]
        if trained
        else []
    )


def _data(data: CTReportDataModule, kept: int) -> list[str]:
    accepted, voxels = len(data.manifest.accepted()), int(np.prod(data.cache.size))
    used = sum(1 for name in data.split.names if name)
    unusable = accepted - used
    folder = data.cache.folder
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return [
        f"studies: {data.split.shares()}, of {len(data.manifest):,} rows of {data.manifest.path}"
        + f"; {unusable:,} accepted rows are skipped, as their volumes cannot be used" * (unusable > 0),
        f"cache: {used:,} volumes × {2 * voxels / 1e6:.1f} MB = {used * 2 * voxels / 1e9:.1f} GB when full, {kept:,}"
        f" are there already, in {folder} ({shutil.disk_usage(existing).free / 1e9:.0f} GB free there)",
    ]


def _memory(needs: Footprint, buckets: int, precision: str) -> list[str]:
    parts = {
        "weights": needs.weights,
        "gradients": needs.gradients,
        "optimiser": needs.optimizer,
        "DDP's buckets": buckets,
        "batch": needs.batch,
        "activations": needs.activations,
    }
    breakdown = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items() if size)
    return [
        f"memory, estimate: {(needs.total + buckets) / GIB:.2f} GiB a process at {precision} ({breakdown}), "
        "without the overhead of libraries and allocator"
    ]


def _all_reports(model: Retriever, count: int, batch: int) -> list[str]:
    # features; maps and cosines, each with its gradient; logits, their softmax and its gradient
    size = 4 * (count * (model.text_encoder.dim + 4 * model.embed_dim) + 3 * batch * count)
    return [
        f"not counted above: the features of {count:,} training reports and what a step makes of them,"
        f" about {size / GIB:.2g} GiB"
    ]


def _gradients_are_bucket_views(strategy: Any) -> bool:
    options = getattr(strategy, "init_args", None)
    # Lightning passes DDP's options on as given, below init_args or below dict_kwargs
    return any(
        bool(part and part.get("gradient_as_bucket_view")) for part in (options, getattr(strategy, "dict_kwargs", None))
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
