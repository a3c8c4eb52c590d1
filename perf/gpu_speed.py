"""The parts of `make gpu` that time training steps of real-size models, by how their batches come."""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
import torchio
from gpu_setup import Setup
from step_timing import filled, loader_rate, over_batches, parts_of_step, timed, views_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bimcvr.models.profiling.train_step import (
    make_optimizer,
    peak_bytes,
    random_batch,
    reset_peak,
    synchronize,
    volume_step,
)

Facts = dict[str, Any]
PRECISION = "bf16-mixed"
# without loading, on one batch that stays on the device
STEPS = 20
# of the maker's data sheets: dense bf16, 10^12 operations a second
STATED = {"H100 80GB HBM3": 989.0, "H200": 989.0, "A100": 312.0}
VIEW = torchio.Compose(
    [torchio.RandomAffine(scales=0.06, degrees=5, translation=10), torchio.RandomNoise(std=(0.0, 0.03))]
)
LOADERS: dict[str, dict[str, Any]] = {
    "loader as it is": {},
    "views on the device": {"views_on_device": True},
    "views on the device, kept in memory": {"views_on_device": True, "keep_in_memory": "int16"},
}


def product(setup: Setup) -> Facts:
    """Time the device's own bf16 matrix product, the peak that steps are held against."""
    side = 256 if setup.toy else 8192
    left, right = torch.randn(2, side, side, device=setup.device, dtype=torch.bfloat16)
    seconds = [timed(lambda: left @ right, setup.device) for _ in range(15)][5:]
    facts: Facts = {"tflops": 2 * side**3 / median(seconds) / 1e12}
    if setup.device.type == "cuda":
        name = torch.cuda.get_device_name(setup.device)
        facts["stated_tflops"] = next((value for known, value in STATED.items() if known in name), None)
    return facts


def loader(setup: Setup, how: str) -> Facts:
    """Count the studies a second that a loader yields where nobody computes."""
    data = setup.data(view_1=VIEW, view_2=VIEW, **LOADERS[how])
    rate = loader_rate(data, seconds=0 if setup.toy else 8)
    return {"studies_a_second": rate, "per_process": rate / max(1, setup.workers), "processes": setup.workers}


def with_loader(setup: Setup, encoder: str, how: str) -> Facts:
    """Train on what a loader yields."""
    data = setup.data(view_1=VIEW, view_2=VIEW, **LOADERS[how])
    # whole rounds: each worker hands over a batch at about the same time as the others
    steps, warm_up = max(3, 2 * setup.workers), max(3, setup.workers)
    return _measure(setup, encoder, filled(data), views_of(data, setup.device), steps=steps, warm_up=warm_up)


def dummy(setup: Setup, encoder: str, compiled: bool = False, chunks: bool = False) -> Facts:
    """Train on one batch that stays on the device: the upper bound of any loader."""
    batch = setup.batch * (4 if chunks else 1)
    return _measure(setup, encoder, None, None, compiled=compiled, batch=batch, chunks=chunks)


def channels_first(setup: Setup, encoder: str) -> Facts:
    """Train with tensors as PyTorch lays them by default, in the place of channels last."""
    with patch.object(torch, "channels_last_3d", torch.contiguous_format):
        return _measure(setup, encoder, None, None)


def parts(setup: Setup, encoder: str) -> Facts:
    """Time the parts of a step in turn with the encoder alone."""
    model = setup.model(encoder)
    views, text = random_batch(model, setup.batch, 2, setup.size, setup.device)
    return parts_of_step(model, views, text, PRECISION, make_optimizer(model), 7)


def _measure(
    setup: Setup,
    encoder: str,
    batches: Iterator[Any] | None,
    prepare: Callable[[Any], Tensor] | None,
    *,
    steps: int = STEPS,
    warm_up: int = 3,
    compiled: bool = False,
    batch: int | None = None,
    chunks: bool = False,
) -> Facts:
    batch = batch or setup.batch
    model = setup.model(encoder, setup.batch if chunks else None)
    flops = batch * _operations(setup, encoder)
    optimizer = make_optimizer(model)
    if compiled:
        model.volume_encoder.compile(backend=setup.backend)
    views, text = random_batch(model, batch, 2, setup.size, setup.device)

    def step(views_of_batch: Tensor) -> None:
        volume_step(model, views_of_batch, text, PRECISION)
        optimizer.step()
        optimizer.zero_grad()

    reset_peak(setup.device)
    began = time.perf_counter()
    step(views)
    synchronize(setup.device)
    first = time.perf_counter() - began
    times = over_batches(
        step,
        itertools.repeat(views) if batches is None else batches,
        prepare or (lambda same: same),
        setup.device,
        3 if setup.toy else steps,
        warm_up=1 if setup.toy else warm_up,
        most=40,
    )
    whole = times.whole
    seconds = sum(whole) / len(whole)  # the mean, since loaders stall in bursts
    return {
        "batch": batch,
        "steps": len(whole),
        "studies_a_second": batch / seconds,
        "step_ms": 1000 * seconds,
        "wait_share": sum(times.wait) / sum(whole),
        "views_ms": 1000 * sum(times.views) / len(whole),
        "tflops": flops / seconds / 1e12,
        "first_step_s": first,
        "peak_gib": peak_bytes(setup.device) / 2**30,
    }


def _operations(setup: Setup, encoder: str) -> float:
    """Count a study's operations, forward and backward, each once: what chunks compute again is no useful work."""
    model = setup.model(encoder)
    views, text = random_batch(model, 2, 2, setup.size, setup.device)
    with FlopCounterMode(display=False) as counter:
        volume_step(model, views, text, PRECISION)
    return float(counter.get_total_flops()) / 2


def parts_of(encoders: tuple[str, ...]) -> dict[str, Callable[[Setup], Facts]]:
    """Return the parts by name, `encoder: how`."""
    made: dict[str, Callable[[Setup], Facts]] = {"bf16 matrix product": product}
    made |= {f"loader alone: {how}": partial(loader, how=how) for how in LOADERS}
    for encoder in encoders:
        made[f"{encoder}: dummy loader"] = partial(dummy, encoder=encoder)
        made |= {f"{encoder}: {how}": partial(with_loader, encoder=encoder, how=how) for how in reversed(LOADERS)}
        made[f"{encoder}: dummy loader, in chunks"] = partial(dummy, encoder=encoder, chunks=True)
        if encoder == "ResNet-50":  # a transformer's tokens have no such layout
            made[f"{encoder}: dummy loader, channels first"] = partial(channels_first, encoder=encoder)
        made[f"{encoder}: parts of a step"] = partial(parts, encoder=encoder)
    for encoder in encoders:  # what takes longest to begin comes last
        made[f"{encoder}: dummy loader, torch.compile"] = partial(dummy, encoder=encoder, compiled=True)
    return made
