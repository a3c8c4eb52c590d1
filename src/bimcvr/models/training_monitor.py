"""Watching a training step: losses and gradients that are not finite, and features that collapse."""

import math

import torch
from torch import Tensor, nn

from bimcvr.errors import UserError

_REMEDY = "Lower the learning rate, set trainer.gradient_clip_val to 1.0, or train with trainer.precision 32-true."


def check_loss(losses: dict[str, Tensor], step: int, rows: Tensor) -> None:
    """Refuse a loss that is not finite.

    Args:
        losses: scalars by name, `loss` among them.
        step: the optimiser's step.
        rows: (B,) the batch's rows of the manifest.

    Raises:
        UserError: `loss` is infinite or no number.
    """
    if not torch.isfinite(losses["loss"]):
        values = {name: value.item() for name, value in losses.items()}
        raise UserError(f"The loss is not finite at step {step} ({values}; manifest rows {rows.tolist()}). {_REMEDY}")


def check_gradients(model: nn.Module, step: int) -> None:
    """Refuse gradients that are not finite.

    Args:
        model: the model whose gradients were computed.
        step: the optimiser's step.

    Raises:
        UserError: a gradient has an infinite value, or one that is no number.
    """
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    # one question to a GPU, not one a weight; the largest absolute value is NaN where one of them is
    if torch.isfinite(torch.nn.utils.get_total_norm(list(gradients.values()), torch.inf)):
        return
    name = next(name for name, gradient in gradients.items() if not torch.isfinite(gradient).all())
    raise UserError(f"The gradient of model.{name} is not finite at step {step}. {_REMEDY}")


def feature_statistics(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """Describe the CLS features of a batch's two views.

    Args:
        z1: (B, C) features of view 1.
        z2: (B, C) features of view 2.

    Returns:
        `norm`, the mean length of view 1; `view_cosine`, the mean cosine of the views; `dimension_sd`, the standard
        deviation over the batch, averaged over the dimensions (NaN for one study).
    """
    z1, z2 = z1.detach().float(), z2.detach().float()
    return {
        "norm": z1.norm(dim=-1).mean(),
        "view_cosine": torch.cosine_similarity(z1, z2).mean(),
        "dimension_sd": z1.std(0).mean() if len(z1) > 1 else z1.new_tensor(math.nan),
    }


def collapse_warning(step: int, sd: float, first_sd: float) -> str:
    """Return the warning for features whose spread has shrunk.

    Args:
        step: the optimiser's step.
        sd: the features' standard deviation over the batch now.
        first_sd: the same at the start of training.
    """
    return (
        f"The features collapse: at step {step} their standard deviation over a batch is under 1 % of its start "
        f"({sd:.2e} of {first_sd:.2e}). Shrinking the features lowers L_mse: set model.objective.normalise_views to "
        "true, or lower model.objective.consistency."
    )
