"""The optimiser's parameter groups and the learning rate's schedule."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from bimcvr.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


def optimizer_and_schedule(
    model: nn.Module,
    make: Callable[[Any], torch.optim.Optimizer],
    steps: int,
    warmup: float,
    without_decay: frozenset[str],
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Make an optimiser over a model's trainable parameters, and a schedule: linear warm-up, then cosine to zero.

    Args:
        model: a module in it with a float attribute `lr_factor` learns at that share of the rate.
        make: called with the groups of parameters, returns the optimiser.
        steps: optimiser steps of the whole training.
        warmup: share of the steps over which the rate rises.
        without_decay: names of parameters without weight decay.
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
    optimizer = make(
        [
            {"params": parameters} | ({} if decays else {"weight_decay": 0.0})
            for (_, decays), parameters in groups.items()
        ]
    )
    for (share, _), group in zip(groups, optimizer.param_groups, strict=True):
        group["lr"] *= share
    return optimizer, LambdaLR(optimizer, warmup_cosine(steps, warmup))


def warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the share of the learning rate at each step: it rises linearly, then falls to zero as a cosine.

    Args:
        steps: optimiser steps of the whole training.
        warmup: share of the steps over which the rate rises.
    """
    rise = int(warmup * max(1, steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return factor


def steps_of_resumed(trainer: "Trainer") -> int:
    """Return the optimiser steps of a resumed training: those that are done, and those of the epochs that are left.

    Steps of another size, by a new `data.batch_size` say, are counted as they are: with as many an epoch from the
    first on, more could be done than there are, and the learning rate would be zero for the rest of the training.

    Args:
        trainer: at the start of its training.
    """
    an_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    left = max(0, int(trainer.max_epochs or 0) - trainer.current_epoch) * an_epoch
    if trainer.max_epochs == -1:
        return trainer.max_steps
    total = trainer.global_step + left
    return total if trainer.max_steps == -1 else min(total, trainer.max_steps)


def check_optimizer(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """Refuse an optimiser that cannot train a model of several groups of parameters, before any data is read.

    Args:
        make: called with the groups of parameters, returns the optimiser.

    Raises:
        UserError: it refuses its own settings, groups, vectors or ordinary gradients.
    """
    matrix, vector = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    for parameter in (matrix, vector):
        parameter.grad = torch.zeros_like(parameter)
    try:
        made = make([{"params": [matrix]}, {"params": [vector], "weight_decay": 0.0}])
        if not all(float(group.get("lr", 1.0)) < math.inf for group in made.param_groups):
            raise ValueError(f"its learning rate is {float(made.param_groups[0]['lr']):g}")
        made.step(lambda: 0.0)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"model.optimizer cannot train this model ({' '.join(str(error).split())}). Take one for groups of dense"
            " parameters, such as torch.optim.AdamW, SGD or RMSprop, and a learning rate above 0."
        ) from error


def settings_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each group of parameters, the learning rate before any step included."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def apply_settings(settings: list[dict[str, Any]], schedule: LambdaLR, factor: Callable[[int], float]) -> None:
    """Give an optimiser settings in place of those that a checkpoint brought, at the schedule's present step.

    Args:
        settings: as `settings_of` returned them.
        schedule: that of the optimiser.
        factor: the share of the learning rate at each step.
    """
    schedule.lr_lambdas = [factor] * len(settings)
    schedule.base_lrs = [group["initial_lr"] for group in settings]
    for new, group in zip(settings, schedule.optimizer.param_groups, strict=True):
        group.update({**new, "lr": new["initial_lr"] * factor(schedule.last_epoch)})
