"""Time and memory of real training steps on random volumes."""

import time

import numpy as np
import torch

from bimcvr.models.profiling.memory import weight_bytes
from bimcvr.models.profiling.train_step import (
    make_optimizer,
    peak_bytes,
    random_batch,
    reset_peak,
    synchronize,
    volume_step,
)
from bimcvr.models.retriever import Retriever

MEASURED_STEPS = 3


def measure_step(
    model: Retriever, batch: int, views: int, size: tuple[int, int, int], precision: str
) -> tuple[float, int, torch.device]:
    """Run a few real steps with the optimiser on random volumes.

    Args:
        model: The model; it is moved to the device and back to the CPU.
        batch: Studies a batch.
        views: Views of each study.
        size: Depth, height and width of a volume.
        precision: As `trainer.precision`.

    Returns:
        Median seconds a step, bytes at the peak, and the device: a GPU if there is one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizer = make_optimizer(model)
    data, text = random_batch(model, batch, views, size, device)
    seconds, before = [], reset_peak(device)
    for _ in range(MEASURED_STEPS + 1):  # the first one selects kernels
        synchronize(device)
        began = time.perf_counter()
        volume_step(model, data, text, precision)
        optimizer.step()
        optimizer.zero_grad()
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    # on the CPU these were allocated before
    held = weight_bytes(model) + data.nbytes + text.nbytes if device.type == "cpu" else 0
    peak = peak_bytes(device) - before + held
    del optimizer
    model.zero_grad()
    model.to("cpu")
    return float(np.median(seconds[1:])), peak, device
