"""The retriever: which part of a batch is which view, and the warnings and refusals of training."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
import torch

from bimcvr.contracts import Batch
from bimcvr.errors import UserError
from bimcvr.models.losses.objective import Objective
from bimcvr.models.retriever import Retriever
from helpers.toy_modules import HashText, NaNText, PlainConv


@pytest.fixture
def batch() -> Batch:
    views = torch.rand(3, 2, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    return {"views": views, "text": ["a b", "c d", "e f"], "index": torch.tensor([4, 5, 6])}


@pytest.fixture(autouse=True)
def no_trainer() -> Iterator[None]:
    with patch.object(Retriever, "log"), patch.object(Retriever, "log_dict"), patch.object(Retriever, "global_step", 7):
        yield


def test_the_objective_sees_view_1_and_view_2_of_each_study(batch: Batch) -> None:
    model = Retriever(PlainConv(), HashText(), objective=Objective())
    seen = {}
    with patch.object(
        Objective, "forward", lambda self, z1, z2, *rest: seen.update(z1=z1, z2=z2) or {"loss": z1.sum()}
    ):
        model.training_step(batch, 0)
    torch.testing.assert_close(seen["z1"], model.volume_encoder(batch["views"][:, 0]).cls)
    torch.testing.assert_close(seen["z2"], model.volume_encoder(batch["views"][:, 1]).cls)


def test_evaluation_lets_the_volume_stand_for_both_views(batch: Batch) -> None:
    model = Retriever(PlainConv(), HashText(), embed_dim=5).eval()
    volume = batch["views"][:, 0]
    features = model.volume_encoder(volume)
    expected = model.project_image(model.fusion(features, features).mean(1))
    torch.testing.assert_close(model.embed_volume(volume), expected)
    assert model.embed_text(["x"]).shape == (1, 5)


def test_a_loss_that_is_not_finite_names_step_and_rows_but_no_text(batch: Batch) -> None:
    model = Retriever(PlainConv(), NaNText())
    with pytest.raises(UserError, match=r"not finite at step 7 .*rows \[4, 5, 6\].*gradient_clip_val") as caught:
        model.training_step(batch, 0)
    assert "a b" not in str(caught.value)


def test_collapse_is_warned_of_once(batch: Batch) -> None:
    model = Retriever(PlainConv(), HashText())
    model.training_step(batch, 0)
    assert model.first_sd > 0
    for layer in model.volume_encoder.parameters():
        layer.data.mul_(1e-3)
    with pytest.warns(UserWarning, match="under 1 % of its start"):
        model.training_step(batch, 0)


def test_the_paper_maps_volumes_into_the_text_encoders_space_without_bias() -> None:
    model = Retriever(PlainConv(8), HashText(16))
    assert model.project_image.weight.shape == (16, 8)
    assert model.project_image.bias is None
    assert isinstance(model.project_text, torch.nn.Identity)
