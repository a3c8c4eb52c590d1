"""A part that breaks its contract is refused with its class, the shape that came and the shape that was expected."""

import re
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from bimcvr.contracts import Features, RetrievalLoss, TextEncoder, ViewFusion, VolumeEncoder
from bimcvr.errors import UserError
from bimcvr.models.retriever import Retriever
from helpers.toy_modules import HashText, PlainConv

VIEWS = torch.rand(3, 2, 1, 8, 12, 12, generator=torch.Generator().manual_seed(0))
TEXTS = ["a b", "c", "d e f"]


class Returns(nn.Module):
    """A part that returns what it was made with, whatever it is given."""

    entropy = None

    def __init__(self, value: Any, dim: object = 8) -> None:
        super().__init__()
        self.value = value
        if dim is not None:
            self.dim = dim

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.value


class MeanLoss(RetrievalLoss):
    """The least that a user's own loss has to be."""

    def forward(self, z1: Tensor, z2: Tensor, image: Tensor, text: Tensor, *_: Any, **__: Any) -> dict[str, Tensor]:
        return {"loss": (image - text).square().mean()}


def refusal(text: object = TEXTS, volume: Tensor | None = None, **parts: Any) -> str:
    """Return what a step says of a model with some parts replaced."""
    model = Retriever(parts.pop("volume_encoder", PlainConv()), parts.pop("text_encoder", HashText()), **parts)
    with pytest.raises(UserError) as caught:
        model.embed_volume(volume) if volume is not None else model.training_forward(VIEWS, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.zeros(6, 8), "a tensor (6, 8)"),
        ((torch.zeros(6, 8), torch.zeros(6, 1, 8)), "a tuple of a tensor (6, 8), a tensor (6, 1, 8)"),
        (None, "a NoneType"),
        (Features(torch.zeros(6, 9), torch.zeros(6, 4, 8)), "Features(cls=(6, 9), tokens=(6, 4, 8))"),
        (Features(torch.zeros(6, 8), torch.zeros(6, 8)), "Features(cls=(6, 8), tokens=(6, 8))"),
        (Features(torch.zeros(6, 8), torch.zeros(6, 4, 7)), "Features(cls=(6, 8), tokens=(6, 4, 7))"),
        (Features(torch.zeros(3, 8), torch.zeros(3, 4, 8)), "Features(cls=(3, 8), tokens=(3, 4, 8))"),
    ],
)
def test_a_volume_encoder_s_shapes(value: Any, found: str) -> None:
    assert refusal(volume_encoder=Returns(value)) == (
        f"{__name__}.Returns (model.volume_encoder) returned {found} for 6 volumes; expected Features(cls=(6, 8), "
        "tokens=(6, N, 8)), since its `dim` is 8."
    )


def test_evaluation_checks_the_volume_encoder_too() -> None:
    message = refusal(volume=VIEWS[:2, 0], volume_encoder=Returns(torch.zeros(2, 8)))
    assert "returned a tensor (2, 8) for 2 volumes; expected Features(cls=(2, 8), tokens=(2, N, 8))" in message


@pytest.mark.parametrize(
    ("value", "found"), [(torch.zeros(3, 5), "a tensor (3, 5)"), ([torch.zeros(4)], "a list of a tensor (4,)")]
)
def test_a_text_encoder_s_shape(value: Any, found: str) -> None:
    assert refusal(text_encoder=Returns(value, 4)) == (
        f"{__name__}.Returns (model.text_encoder) returned {found} for 3 texts; expected a tensor (3, 4), since its "
        "`dim` is 4."
    )


@pytest.mark.parametrize(
    ("value", "found"), [(torch.zeros(3, 8), "a tensor (3, 8)"), (torch.zeros(3, 0, 8), "a tensor (3, 0, 8)")]
)
def test_a_fusion_s_shape(value: Tensor, found: str) -> None:
    assert refusal(fusion=Returns(value)) == (
        f"{__name__}.Returns (model.fusion) returned {found}; expected tokens (3, M, 8), M at least 1, for 3 volumes "
        "and the volume encoder's `dim` = 8."
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(()), "returned a tensor (); expected a dict of scalars with the key `loss`."),
        ({"total": 1.0}, "returned a dict with the keys ['total']; expected a dict of scalars with the key `loss`."),
        ({"loss": torch.zeros(3)}, "returned a tensor (3,) as `loss`; expected a scalar tensor."),
    ],
)
def test_a_loss_s_output(value: Any, message: str) -> None:
    with patch.object(MeanLoss, "forward", lambda *_, **__: value):
        assert refusal(objective=MeanLoss()) == f"{__name__}.MeanLoss (model.objective) {message}"


@pytest.mark.parametrize(
    ("dim", "found"), [(None, "has no attribute `dim`"), ("8", "has `dim` = '8'"), (0, "`dim` = 0")]
)
@pytest.mark.parametrize("option", ["volume_encoder", "text_encoder"])
def test_an_encoder_without_a_length(option: str, dim: object, found: str) -> None:
    parts = {"volume_encoder": PlainConv(), "text_encoder": HashText(), option: Returns(None, dim)}
    with pytest.raises(UserError, match=re.escape(f"{__name__}.Returns (model.{option})") + ".*" + re.escape(found)):
        Retriever(**parts)


def test_a_loss_of_a_user_s_own_trains() -> None:
    model = Retriever(PlainConv(), HashText(), objective=MeanLoss())
    model.training_forward(VIEWS, TEXTS).losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.volume_encoder.parameters())


def test_checks_draw_no_random_numbers() -> None:
    model = Retriever(PlainConv(), HashText())
    state = torch.get_rng_state()
    model.training_forward(VIEWS, TEXTS)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("base", [VolumeEncoder, TextEncoder, ViewFusion])
def test_any_module_may_be_named_as_a_part_and_nothing_else(base: type) -> None:
    assert issubclass(PlainConv, base)
    assert not issubclass(dict, base)
    with pytest.raises(TypeError, match="abstract"):
        base()


def test_only_a_loss_has_to_derive() -> None:
    assert not issubclass(PlainConv, RetrievalLoss)
