"""Gradients that are not finite are refused by name; the largest finite ones are not."""

import pytest
import torch
from torch import nn

from bimcvr.errors import UserError
from bimcvr.models.training_monitor import check_gradients


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_weight_is_named(value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).double())
    check_gradients(model, 0)  # none yet
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, torch.finfo(weight.dtype).max)
    check_gradients(model, 0)
    model[1].bias.grad[0] = value
    with pytest.raises(UserError, match=r"gradient of model\.1\.bias is not finite at step 7"):
        check_gradients(model, 7)


def test_a_step_asks_once_for_all_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, model = [], nn.Sequential(*(nn.Linear(2, 2) for _ in range(9)))
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    answer = torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda values: asked.append(1) or answer(values))
    check_gradients(model, 0)
    assert len(asked) == 1  # each answer waits for all the work that a GPU has queued
