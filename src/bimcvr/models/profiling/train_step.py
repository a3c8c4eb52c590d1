"""One training step on random volumes without trainer and data: what a dry run estimates and a benchmark times."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from bimcvr.models.retriever import Retriever

DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def volume_step(model: Retriever, views: Tensor, text: Tensor, precision: str = "32-true") -> Tensor:
    """Do a step's forward and backward pass, as `Retriever.training_step` does.

    Args:
        model: its gradients are filled.
        views: (B, V, 1, D, H, W), on the model's device.
        text: (B, text_encoder.dim), the features of B texts: a frozen encoder computes them once, in the first epoch.
        precision: the trainer's; bf16-mixed and 16-mixed run under autocast.

    Returns:
        The loss, detached.
    """
    with torch.autocast(views.device.type, dtype=DTYPES.get(precision), enabled=precision in DTYPES):
        loss = model.training_forward(views, text).losses["loss"]
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def random_batch(
    model: Retriever, batch: int, views: int, size: tuple[int, int, int], device: str | torch.device
) -> tuple[Tensor, Tensor]:
    """Return random views (B, V, 1, D, H, W) in [0, 1] and text features (B, text_encoder.dim), in its dtype."""
    dtype = cast(torch.dtype, model.dtype)
    volumes = torch.rand(batch, views, 1, *size, device=device, dtype=dtype)
    return volumes, torch.randn(batch, model.text_encoder.dim, device=device, dtype=dtype)


def make_optimizer(model: Retriever) -> torch.optim.Optimizer:
    """Return the configured optimiser over the trainable parameters of all but the text encoder."""
    parts = trained_parts(model).values()
    return model.optimizer([weight for part in parts for weight in part.parameters() if weight.requires_grad])


def trained_parts(model: Retriever) -> dict[str, torch.nn.Module]:
    """Return the parts that a step runs through, by their names in the configuration."""
    names = ("volume_encoder", "fusion", "project_image", "project_text", "whitening", "objective")
    return {name: part for name in names if (part := getattr(model, name)) is not None}


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> int:
    """Reset the peak that `peak_bytes` reports.

    Returns:
        The bytes that the process holds now on the CPU; 0 on a GPU, whose peak counts this process's tensors alone.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return 0
    Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts from VmRSS
    return _kilobytes("VmRSS") * 1024


def peak_bytes(device: torch.device) -> int:
    """Return the bytes at the peak since `reset_peak`: a GPU's tensors, or the whole process on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _kilobytes("VmHWM") * 1024


def _kilobytes(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field + ":"))
