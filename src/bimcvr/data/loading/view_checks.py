"""Runs the training views and the text sampler once before a training, where a mistake can be named."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.loading.dataset import TextSampler
from bimcvr.data.loading.views import View, apply_view
from bimcvr.errors import UserError

_REPORT = "There is a nodule in the right upper lobe. No pleural effusion. The heart is of normal size."


def check_views_and_sampler(views: Sequence[View | None], sampler: TextSampler, grid: ModelGrid) -> None:
    """Apply each view to a volume of rising values, and the sampler to a report.

    Args:
        views: those of a training.
        sampler: the text sampler.
        grid: the model's grid; without a spacing the volume has voxels of 1 mm.

    Raises:
        UserError: one of them fails, or returns something else than its contract says.
    """
    volume = torch.linspace(0, 1, math.prod(grid.size)).reshape(grid.size)
    for number, view in enumerate(views, start=1):
        try:
            apply_view(volume, grid.spacing or (1.0, 1.0, 1.0), view, seed=0)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{_name(view)} (data.view_{number}) failed on a volume {grid.size}: {_reason(error)}"
            ) from error
    try:
        text = sampler(_REPORT, torch.Generator().manual_seed(0))
    except Exception as error:
        raise UserError(f"{_name(sampler)} (data.text_sampler) failed on a report: {_reason(error)}") from error
    if not isinstance(text, str):
        raise UserError(f"{_name(sampler)} (data.text_sampler) returned a {type(text).__name__}; expected a text.")


def _name(part: Any) -> str:
    kind = part if hasattr(part, "__qualname__") else type(part)  # a sampler may be a function
    return f"{kind.__module__}.{kind.__qualname__}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
