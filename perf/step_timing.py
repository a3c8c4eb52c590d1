"""What a training step consists of, timed: its parts in turn, and the wait for batches."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.models.profiling.train_step import DTYPES, synchronize, volume_step
from bimcvr.models.retriever import Retriever
from bimcvr.models.training_monitor import check_gradients

WARM_UP = 3


class StepTimes(NamedTuple):
    """Seconds of each step: the wait for its batch, its way to the device and the views there, and the step itself."""

    wait: list[float]
    views: list[float]
    step: list[float]

    @property
    def whole(self) -> list[float]:
        """The seconds of each step, all of it."""
        return [sum(parts) for parts in zip(*self, strict=True)]


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call takes, a GPU's queued work included."""
    synchronize(device)
    began = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - began


def over_batches(
    step: Callable[[Tensor], object],
    batches: Iterator[Any],
    prepare: Callable[[Any], Tensor],
    device: torch.device,
    steps: int,
    warm_up: int = WARM_UP,
    most: float = float("inf"),
) -> StepTimes:
    """Time steps over batches.

    Args:
        step: takes the views of a batch.
        batches: as a loader yields them.
        prepare: makes the views of a batch on the device.
        device: of the model.
        steps: how many are timed.
        warm_up: how many come before them.
        most: seconds after which no further step begins, once three are timed.
    """
    times = StepTimes([], [], [])
    began = time.perf_counter()
    for _ in range(steps + warm_up):
        held: list[Any] = []
        times.wait.append(timed(lambda: held.append(next(batches)), device))  # noqa: B023 - called at once
        times.views.append(timed(lambda: held.append(prepare(held.pop())), device))  # noqa: B023
        times.step.append(timed(lambda: step(held.pop()), device))  # noqa: B023
        if len(times.step) >= warm_up + 3 and time.perf_counter() - began > most:
            break
    return StepTimes(*(part[warm_up:] for part in times))


def raw_batches(data: CTReportDataModule) -> Iterator[Any]:
    """Yield the training set's batches as its loader makes them, over and over."""
    loader = data.train_dataloader()
    while True:
        yield from loader


def filled(data: CTReportDataModule) -> Iterator[Any]:
    """Return `raw_batches`, after the epoch that fills the memory where volumes are kept there."""
    batches = raw_batches(data)
    if data.keep_in_memory:
        for _ in range(len(data.train_dataset()) // data.batch_size):
            next(batches)
    return batches


def views_of(data: CTReportDataModule, device: torch.device) -> Callable[[Any], Tensor]:
    """Return what brings a loader's batch to the device and makes its views there, as Lightning does."""

    def prepare(batch: Any) -> Tensor:
        sent = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }
        views: Tensor = data.on_after_batch_transfer(sent, 0)["views"]  # type: ignore[arg-type]
        return views

    return prepare


def loader_rate(data: CTReportDataModule, seconds: float = 5.0) -> float:
    """Return the studies a second that the loader yields where nobody computes."""
    batches = filled(data)
    # whole rounds: each worker hands over a batch at about the same time as the others
    for _ in range(max(2, data.num_workers)):
        next(batches)
    began, studies = time.perf_counter(), 0
    while studies < 2 * data.batch_size * max(1, data.num_workers) or time.perf_counter() - began < seconds:
        studies += len(next(batches)["index"])
    return studies / (time.perf_counter() - began)


def parts_of_step(
    model: Retriever, views: Tensor, text: Tensor, precision: str, optimizer: torch.optim.Optimizer, runs: int
) -> dict[str, float]:
    """Time a step's parts in turn with the encoder alone over the same volumes: its forward and backward pass.

    Args:
        model: on the device of the volumes.
        views: (B, V, 1, D, H, W).
        text: (B, text_encoder.dim).
        precision: the trainer's.
        optimizer: over the model's weights.
        runs: pairs that are timed, after one that is not.

    Returns:
        Medians in seconds: `encoder_alone`; `step`, all of it; of it `forward_backward`, `checks` of the gradients and
        `optimizer`; and the median of the pairs' ratios, `step_over_encoder`.
    """
    device, volumes = views.device, views.transpose(0, 1).flatten(0, 1)

    def alone() -> None:
        with torch.autocast(device.type, dtype=DTYPES.get(precision), enabled=precision in DTYPES):
            features = model.volume_encoder(volumes)
            total = features.cls.float().sum() + features.tokens.float().sum()
        total.backward()  # type: ignore[no-untyped-call]

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    found: dict[str, list[float]] = {}
    for _ in range(runs + 1):
        parts = {"encoder_alone": timed(alone, device)}
        optimizer.zero_grad()
        parts["forward_backward"] = timed(lambda: volume_step(model, views, text, precision), device)
        parts["checks"] = timed(lambda: check_gradients(model, 0), device)
        parts["optimizer"] = timed(update, device)
        parts["step"] = parts["forward_backward"] + parts["checks"] + parts["optimizer"]
        parts["step_over_encoder"] = parts["step"] / parts["encoder_alone"]
        for name, value in parts.items():
            found.setdefault(name, []).append(value)
    return {name: round(median(values[1:]), 5) for name, values in found.items()}
