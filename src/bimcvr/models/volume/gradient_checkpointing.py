"""Gradient checkpointing: activations are recomputed in the backward pass instead of stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def runner(checkpointing: bool) -> Callable[[nn.Module, Tensor], Tensor]:
    """Return a function that applies a block of a network, with or without storing its inner activations.

    Outputs and gradients are the same; a step's forward pass is done twice. Without gradients nothing is stored anyway.
    """
    return _checkpointed if checkpointing and torch.is_grad_enabled() else _plain


def _plain(block: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, block(x))


def _checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # a graph moves the statistics once, at its end, whatever is recomputed
        return cast(Tensor, checkpoint(block, x, use_reentrant=False))
    return cast(
        Tensor,
        checkpoint(block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(block))),
    )


@contextmanager
def frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Let the second pass update copies of BatchNorm's running statistics, which the first pass has updated already.

    SyncBatchNorm is covered too.

    Args:
        block: what is run a second time.
    """
    statistics = [
        (norm, name, value)
        for norm in block.modules()
        if isinstance(norm, _BatchNorm)
        for name, value in norm.named_buffers()
    ]
    for norm, name, value in statistics:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in statistics:
            setattr(norm, name, value)
