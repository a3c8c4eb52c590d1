"""Gradient checkpointing: activations are computed again in the backward pass instead of kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def runner(checkpointing: bool) -> Callable[[nn.Module, Tensor], Tensor]:
    """Return what applies a block of a network: plainly, or without keeping what lies inside it.

    Outputs and gradients are the same; a step's forward pass is done twice. Without gradients nothing is kept anyway.
    """
    return _checkpointed if checkpointing and torch.is_grad_enabled() else _plain


def _plain(block: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, block(x))


def _checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # a graph moves the statistics once, at its end, whatever is computed again
        return cast(Tensor, checkpoint(block, x, use_reentrant=False))
    return cast(
        Tensor,
        checkpoint(block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_at_rest(block))),
    )


@contextmanager
def _statistics_at_rest(block: nn.Module) -> Iterator[None]:
    """Let the second pass move copies of BatchNorm's running statistics.

    They were moved in the first (SyncBatchNorm is one too).
    """
    kept = [
        (norm, name, value)
        for norm in block.modules()
        if isinstance(norm, _BatchNorm)
        for name, value in norm.named_buffers()
    ]
    for norm, name, value in kept:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in kept:
            setattr(norm, name, value)
