"""A batch run in chunks with the gradients of the whole: activations of one chunk in memory, negatives of all.

As GradCache does (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021): a first
pass keeps each chunk's vectors alone; once the loss over all of them has given its gradient, each chunk is run a second
time, with the same random numbers, and that gradient goes back through it. Here both passes are one graph, so that one
`backward` does everything: trainers, DDP and gradient scaling see an ordinary step.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

from bimcvr.models.volume.gradient_checkpointing import frozen_statistics

Output = TypeVar("Output")


def in_chunks(run: Callable[[Tensor], Output], batch: Tensor, size: int | None, model: nn.Module) -> list[Output]:
    """Run a function over chunks of a batch; of each chunk's first pass its inputs and outputs stay in memory.

    Args:
        run: from a chunk to its outputs, through parts of `model`. In the second pass it has the same state of torch's
            random numbers and the same autocast.
        batch: (B, …), what is run; each row for itself, but for BatchNorm.
        size: rows of a chunk, the last may have fewer; None or at least B runs the batch in one pass.
        model: whose BatchNorms move their running statistics in the first pass only.

    Returns:
        The outputs of the chunks, in order.
    """
    if size is None or size >= len(batch):
        return [run(batch)]

    def outputs(chunk: Tensor) -> Output:
        # a view, such as the class token among all tokens, would keep what it is a view of
        return tree_map_only(Tensor, torch.clone, run(chunk))  # type: ignore[no-any-return]

    return [
        checkpoint(outputs, chunk, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(model)))
        for chunk in torch.split(batch, size)
    ]


def statistics_warning(model: nn.Module, size: int, batch: int) -> str:
    """Return what is different in chunks for layers that look at a whole batch; empty where there are none.

    Args:
        model: the parts that chunks are run through.
        size: studies of a chunk.
        batch: studies of a batch, in each process.
    """
    if size >= batch or not any(isinstance(part, _BatchNorm) for part in model.modules()):
        return ""
    return (
        f"model.chunk_size is {size}: BatchNorm takes its mean and variance over the {size} studies of a chunk, not the"
        f" {batch} of a batch, and moves its running statistics once a chunk. The gradients are exact for these"
        " statistics, but not those of the whole batch in one pass; an encoder without BatchNorm (ViT3D) has those."
    )
