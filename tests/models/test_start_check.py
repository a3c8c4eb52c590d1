"""Every part is run once at the start, and one that breaks its contract is named; nothing is changed by it."""

import re
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from bimcvr.contracts import DataGrid, Features, RetrievalLoss
from bimcvr.errors import UserError
from bimcvr.models.losses.objective import Objective
from bimcvr.models.retriever import Retriever
from bimcvr.models.start_check import check_parts
from helpers.toy_modules import HashText, PlainConv

GRID = DataGrid((12, 16, 16), None, (-1000.0, 1000.0))


def made(**parts: Any) -> Retriever:
    parts = {"volume_encoder": PlainConv(), "text_encoder": HashText(), "embed_dim": 12, **parts}
    model = Retriever(**parts)
    model.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    return model


class FeaturesInEvaluation(PlainConv):
    """Wrong only where it is not trained, so that a training batch does not show it."""

    def forward(self, volume: Tensor) -> Any:
        features = super().forward(volume)
        return features if self.training else tuple(features)


class Fails(PlainConv):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Conv3d(3, 8, 3)


class WholeNumbers(HashText):
    def forward(self, texts: list[str]) -> Tensor:
        return super().forward(texts).long()


class Lists(HashText):
    def forward(self, texts: list[str]) -> Any:
        return super().forward(texts).tolist()


class WithEntropy(nn.Module):
    entropy = 0.5

    def forward(self, first: Features, second: Features) -> Tensor:
        return first.tokens


class WithoutEntropy(nn.Module):
    def forward(self, first: Features, second: Features) -> Tensor:
        return first.tokens


class Detached(Objective):
    def forward(self, *features: Any, **rest: Any) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in super().forward(*features, **rest).items()}


class LogsNumbers(RetrievalLoss):
    def forward(self, z1: Tensor, z2: Tensor, image: Tensor, text: Tensor, *_: Any, **__: Any) -> dict[str, Tensor]:
        return {"loss": (image - text).square().mean()}

    def logged(self) -> dict[str, Any]:
        return {"share": 0.5}


@pytest.mark.parametrize(
    ("option", "part", "said"),
    [
        ("volume_encoder", FeaturesInEvaluation(), "returned a tuple of a tensor (2, 8), a tensor (2, 18, 8) for 2"),
        ("volume_encoder", Fails(), "failed on a tensor (2, 1, 12, 16, 16): RuntimeError: "),
        ("text_encoder", WholeNumbers(), "returned a tensor (2, 16) of int64 for 2 texts; expected a tensor (2, 16)"),
        ("text_encoder", Lists(), "returned a list of a list of a float, a float, a float, …"),
        ("fusion", WithEntropy(), "has a float as `entropy`; expected a scalar tensor or None"),
        ("objective", Detached(), "returned a `loss` that does not depend on its inputs"),
        ("objective", LogsNumbers(), "logs a float as `share`; expected a scalar tensor"),
    ],
)
def test_a_wrong_part_is_named(option: str, part: nn.Module, said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_parts(made(**{option: part}), GRID, trains=True)
    assert str(caught.value).startswith(f"{__name__}.{type(part).__name__} (model.{option}) ")
    assert said in str(caught.value)


def test_the_loss_is_left_out_of_evaluation() -> None:
    check_parts(made(objective=Detached()), GRID, trains=False)


def test_a_fusion_needs_no_entropy() -> None:
    model = made(fusion=WithoutEntropy())
    check_parts(model, GRID, trains=True)
    model.log = model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    views = torch.rand(3, 2, 1, *GRID.size, generator=torch.Generator().manual_seed(0))
    model.training_step({"views": views, "text": ["a", "b", "c"], "index": torch.arange(3)}, 0)


class Noisy(PlainConv):
    """With statistics of batches and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 8, 3, stride=4), nn.BatchNorm3d(8), nn.Dropout(0.5))

    def forward(self, volume: Tensor) -> Features:
        torch.rand(3)
        return super().forward(volume)


def test_nothing_is_changed() -> None:
    model = made(volume_encoder=Noisy()).train()
    model.volume_encoder.layers[2].eval()
    state, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    check_parts(model, GRID, trains=True)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, equal_nan=True, msg=re.escape(name))
    assert torch.equal(torch.get_rng_state(), random)
    assert (model.training, model.volume_encoder.layers[1].training) == (True, True)
    assert not model.volume_encoder.layers[2].training
    assert all(parameter.grad is None for parameter in model.parameters())
