"""Which parameters are trained at which rate, and how the rate changes over the steps."""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def optimizer_and_schedule(
    model: nn.Module,
    make: Callable[[Any], torch.optim.Optimizer],
    steps: int,
    warmup: float,
    without_decay: frozenset[str],
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Give a model's trainable parameters to an optimizer whose rate rises, and then falls as a cosine to zero.

    Args:
        model: a part of it with a float attribute `lr_factor` learns at this share of the rate.
        make: groups of parameters → optimizer.
        steps: of the whole training.
        warmup: share of them over which the rate rises.
        without_decay: names of parameters that weight decay leaves alone.
    """
    factor_of = {
        p: cast(float, part.lr_factor)
        for part in model.modules()
        if hasattr(part, "lr_factor")
        for p in part.parameters()
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): []}
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups.setdefault((factor_of.get(p, 1.0), name not in without_decay), []).append(p)
    optimizer = make([{"params": of} | ({} if decays else {"weight_decay": 0.0}) for (_, decays), of in groups.items()])
    for (share, _), group in zip(groups, optimizer.param_groups, strict=True):
        group["lr"] *= share
    rise = int(warmup * max(1, steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return optimizer, LambdaLR(optimizer, factor)
