"""Gathering features across processes with exact gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.batch = len(local)
        gathered = local.new_empty((dist.get_world_size() * len(local), *local.shape[1:]))
        dist.all_gather_into_tensor(gathered, local.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # every process's loss depends on every process's features: the local gradient is the sum of all
        total = grads[0].contiguous()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.batch
        return total[start : start + ctx.batch]


def gather(local: Tensor) -> Tensor:
    """Concatenate each process's (B, …) in rank order; alone, return the input.

    The backward pass sums over processes, so that a loss over local rows against all columns, averaged over
    processes as DDP does, has exactly the gradient of one process with the whole batch. Every process must have
    the same B.

    Args:
        local: (B, …), this process's rows.

    Returns:
        (world · B, …).
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


def rank() -> int:
    """Return this process's rank, 0 alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
