"""Which values of Lightning's Trainer options are refused, and why; docs/trainer.md has the whole table."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import torch

from bimcvr.errors import UserError
from bimcvr.extras import MissingExtra, is_installed

HALF_PRECISION = ("16-true", "bf16-true", "transformer-engine", "transformer-engine-float16")
CALLBACKS = {
    "BatchSizeFinder": "it changes data.batch_size, and config.yaml would not say so. `dry-run` estimates what fits",
    "LearningRateFinder": "it changes the learning rate, and config.yaml would not say so. `sweep` compares several",
    "GradientAccumulationScheduler": (
        "the learning rate's schedule needs the number of steps before. Set trainer.accumulate_grad_batches"
    ),
    "StochasticWeightAveraging": (
        "it replaces the learning rate's schedule, and checkpoints hold the weights before the average"
    ),
    "Timer": "set trainer.max_time, which makes one",
    "ModelPruning": "checkpoints of a pruned model have other names of weights, which no other command can load",
    "BaseFinetuning": "what is trained is set by the model's parts",
    "BackboneFinetuning": "the model has no `backbone`. What is trained is set by the model's parts",
}
"""Callbacks of Lightning that are refused, and why."""


class _Refusal(NamedTuple):
    """Values of an option that are refused, and the rest of the message `trainer.OPTION cannot be …`."""

    refused: Callable[[Any], bool]
    reason: str


_PART = "figures over a part of the rows could not be compared with others. Leave it at 1.0"
_UNTRAINED = "nothing would be trained"
_REFUSALS = {
    "accelerator": _Refusal(
        lambda value: value not in ("auto", "cpu", "gpu", "cuda", "mps"), "choose auto, cpu, gpu, cuda or mps"
    ),
    "strategy": _Refusal(
        lambda value: not _is_supported_strategy(value),
        "gradients, figures and checkpoints are right with one device or ddp only. Choose auto, ddp or"
        " ddp_find_unused_parameters_true, or DDPStrategy with init_args",
    ),
    "precision": _Refusal(
        lambda value: value in HALF_PRECISION,
        "weights in half precision lose the optimiser's small steps. Choose bf16-mixed, 16-mixed, 32-true or 64-true",
    ),
    "fast_dev_run": _Refusal(
        bool,
        "it leaves no checkpoint and scores a part of the rows. For a quick trial set trainer.max_epochs to 1 and"
        " trainer.limit_train_batches to 2, or call `dry-run --measure`",
    ),
    "overfit_batches": _Refusal(
        bool,
        "it replaces the order of the studies, which seed and epoch determine, and scores a part of `val`. To see"
        " whether a model can learn a few studies by heart, give a manifest of those alone",
    ),
    "limit_train_batches": _Refusal(lambda value: value is not None and value == 0, _UNTRAINED),
    "limit_val_batches": _Refusal(lambda value: not (_is_whole(value) or value == 0), f"{_PART}, or at 0 for no `val`"),
    "limit_test_batches": _Refusal(lambda value: not _is_whole(value), _PART),
    "limit_predict_batches": _Refusal(lambda value: not _is_whole(value), _PART),
    "max_epochs": _Refusal(lambda value: value == 0, _UNTRAINED),
    "max_steps": _Refusal(lambda value: value == 0, _UNTRAINED),
    "max_time": _Refusal(
        lambda value: (
            value is not None
            and not (isinstance(value, str) and re.fullmatch(r"\d+(:\d+){3}", value) and re.search("[1-9]", value))
            and not (isinstance(value, dict) and any(value.values()))
            and not (isinstance(value, timedelta) and value)
        ),
        "give days, hours, minutes and seconds as DD:HH:MM:SS, more than none",
    ),
    "val_check_interval": _Refusal(
        lambda value: value is not None and (not isinstance(value, int | float) or value == 0),
        "give a share of an epoch such as 0.5, or a number of batches",
    ),
    "check_val_every_n_epoch": _Refusal(lambda value: value is not None and value < 1, "at least 1 is needed"),
    "accumulate_grad_batches": _Refusal(lambda value: value < 1, "at least 1 is needed"),
    "gradient_clip_val": _Refusal(
        lambda value: value is not None and value < 0, "a negative limit would turn gradients around"
    ),
    "log_every_n_steps": _Refusal(lambda value: value is not None and value < 0, "0 logs no step, 1 every step"),
    "reload_dataloaders_every_n_epochs": _Refusal(bool, "loaders depend on seed and epoch alone. Leave it at 0"),
    "profiler": _Refusal(lambda value: value == "xla", "choose simple, advanced or pytorch"),
    "barebones": _Refusal(bool, "a run keeps its checkpoints and its log"),
    "model_registry": _Refusal(bool, "nothing is uploaded: checkpoints are learned from patient data"),
    "plugins": _Refusal(
        lambda value: any(name.endswith(("Precision", "CheckpointIO")) for name in class_names(value)),
        "precision is set by trainer.precision, and checkpoints are always written atomically",
    ),
}


def unsupported(trainer: Any, trains: bool = True) -> Iterator[str]:
    """Yield what is wrong with options of the Trainer that would fail late, or make a run other than its files say.

    Args:
        trainer: the configuration's `trainer`, not yet instantiated.
        trains: whether it is to train; the files of a zero-shot experiment say max_epochs 0.
    """
    for option, refusal in _REFUSALS.items():
        value = trainer[option]
        if refusal.refused(value) and (trains or refusal.reason != _UNTRAINED):
            yield f"trainer.{option} cannot be {_shown(value)}: {refusal.reason}."
    if "TensorBoardLogger" in class_names(trainer.logger) and not is_installed("tensorboard"):
        yield f"trainer.logger: TensorBoardLogger {MissingExtra('tensorboard')}"
    for name in class_names(trainer.callbacks):
        if name in CALLBACKS:
            yield f"trainer.callbacks cannot have {name}: {CALLBACKS[name]}."
    for metric in _monitored(trainer.callbacks):
        if not metric.startswith(("val/", "train/")):
            yield (
                f"trainer.callbacks: there is no metric {metric}. The names of metrics begin with train/ or val/, such"
                " as val/score."
            )
    least, most = trainer.min_epochs, trainer.max_epochs
    if trains and least is not None and most is not None and -1 < int(most) < int(least):
        yield f"trainer.min_epochs is {least}, and trainer.max_epochs {most} ends the training before."
    endless = trainer.max_epochs == -1 or (trainer.max_epochs is None and trainer.max_time is not None)
    if endless and trainer.max_steps == -1:
        yield (
            "The learning rate's schedule needs the number of steps: set trainer.max_epochs or trainer.max_steps."
            " trainer.max_time may end the training before."
        )


def limited(batches: int, limit: float | None) -> int:
    """Return how many of an epoch's batches the trainer uses.

    Args:
        batches: all of an epoch.
        limit: `trainer.limit_train_batches`: a share if it is no whole number, else a count.

    Raises:
        UserError: it is no batch.
    """
    if limit is None:
        return batches
    count = limit > 1 or isinstance(limit, int)
    used = min(batches, int(limit)) if count else int(batches * limit)
    if used < 1 or (count and limit != int(limit)):
        raise UserError(
            f"trainer.limit_train_batches is {limit}, of {batches} batches an epoch: give a share that is at least one"
            " batch, at most 1.0, or a number of batches."
        )
    return used


def batches_an_epoch(studies: int, batch_size: int, processes: int) -> int:
    """Return how many batches each process has in an epoch; the last partial batch is dropped.

    Args:
        studies: those of the training set.
        batch_size: studies in a batch of a process.
        processes: how many processes share the training set.

    Raises:
        UserError: a batch is larger than a process's share.
    """
    batches = -(-studies // processes) // batch_size
    if not batches:
        raise UserError(
            f"A batch of {batch_size} studies for each of {processes} processes is larger than the training set "
            f"({studies} studies). Set data.batch_size to {max(1, studies // processes)} or less."
        )
    return batches


def refuse_seldom_validation(trainer: Any, batches: int) -> None:
    """Refuse a validation every so many batches that no epoch reaches.

    Args:
        trainer: the trainer, or its configuration.
        batches: those of an epoch.

    Raises:
        UserError: `val` would never be scored.
    """
    interval, limit_val = trainer.val_check_interval, trainer.limit_val_batches
    by_epoch = trainer.check_val_every_n_epoch is not None
    if by_epoch and isinstance(interval, int) and interval > batches and (limit_val is None or limit_val > 0):
        raise UserError(
            f"trainer.val_check_interval is {interval} batches, and an epoch has {batches}: `val` would never be"
            f" scored. Give a number up to {batches}, or a share of an epoch such as 0.5."
        )


def log_every_epoch(trainer: Any, batches: int) -> None:
    """Let a small data set be logged too: at least once an epoch.

    Args:
        trainer: the trainer.
        batches: those of an epoch, of all processes together.
    """
    steps = batches // (trainer.world_size * trainer.accumulate_grad_batches)
    trainer.log_every_n_steps = min(trainer.log_every_n_steps, max(1, steps))


def world_size(devices: Any, nodes: int, accelerator: str = "auto") -> int:
    """Return how many processes `trainer.devices` and `trainer.num_nodes` make.

    Args:
        devices: `auto` and -1 mean all devices of this machine.
        nodes: how many machines there are.
        accelerator: on a CPU, `auto` is one process.

    Raises:
        UserError: `devices` is none of what Lightning accepts.
    """
    if isinstance(devices, list):
        return len(devices) * nodes
    if str(devices) in ("auto", "-1"):
        return max(1, 0 if accelerator == "cpu" else torch.cuda.device_count()) * nodes
    try:
        return (
            len(devices.strip(",").split(",")) if isinstance(devices, str) and "," in devices else int(devices)
        ) * nodes
    except ValueError as error:
        raise UserError(f"trainer.devices is {devices!r}: give a number of devices, their list, or auto.") from error


def class_names(value: Any) -> list[str]:
    """Return the names of the classes, without their modules, that an option's configuration names.

    Args:
        value: a class path, a mapping with `class_path`, a list of such, or None.
    """
    return [str(_class_path(item)).rpartition(".")[2] for item in _items(value)]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _class_path(item: Any) -> Any:
    return getattr(item, "class_path", item)


def _monitored(callbacks: Any) -> Iterator[str]:
    for item in _items(callbacks):
        if str(_class_path(item)).endswith("EarlyStopping"):
            yield str(item.init_args.monitor)


def _is_whole(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value == 1.0)


def _is_supported_strategy(value: Any) -> bool:
    name = class_names(value)[0]
    return name in ("auto", "single_device", "ddp", "SingleDeviceStrategy", "DDPStrategy") or name.startswith(
        "ddp_find_unused_parameters"
    )


def _shown(value: Any) -> str:
    return ", ".join(class_names(value)) if hasattr(value, "class_path") or isinstance(value, list) else str(value)
