"""A text tower that is trained: gradients, weights in the checkpoint, no feature kept, its own learning rate."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import PropertyMock, patch

import pytest
import torch

from bimcvr.errors import UserError
from bimcvr.models.losses.objective import Objective
from bimcvr.models.retriever import Retriever
from bimcvr.models.text.finetuned import TunedText
from bimcvr.models.text.open_clip import OpenClipText
from bimcvr.models.volume.slice_backbones import OpenClipImage
from bimcvr.models.volume.slice_encoder import SliceEncoder
from bimcvr.models.volume.slice_pooling import MeanP, Statistic
from bimcvr.models.volume.view_fusion import FirstView
from helpers.toy_modules import HashText, PlainConv

TEXTS = ["Large right pleural effusion. The heart is normal.", "no nodule"]


@pytest.mark.parametrize("which", ["biomedclip_folder", "clip_folder"])
@pytest.mark.parametrize("sentences", [False, True])
def test_it_starts_as_the_frozen_encoder_and_trains_whole(
    which: str, sentences: bool, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(which))
    tuned = TunedText(OpenClipText(folder, sentences=sentences))
    assert tuned.receipt()["weights"] == {"source": f"{folder}, trained", "random": False}
    torch.testing.assert_close(tuned.eval()(TEXTS), OpenClipText(folder, sentences=sentences)(TEXTS), rtol=0, atol=2e-6)
    tuned.train()(TEXTS).sum().backward()
    assert list(tuned.parameters())
    assert all(weight.grad is not None for weight in tuned.parameters())
    assert {name.removeprefix("tower.") for name in tuned.state_dict()} == set(tuned.tower.state_dict())


def test_a_step_changes_its_features(clip_folder: Path) -> None:
    tuned = TunedText(OpenClipText(str(clip_folder)))
    before = tuned(TEXTS)
    before.sum().backward()
    torch.optim.SGD(tuned.parameters(), lr=0.1).step()
    assert (tuned(TEXTS) - before).abs().max() > 1e-3


def test_dropout_is_on_in_training_only(biomedclip_folder: Path) -> None:
    tuned = TunedText(OpenClipText(str(biomedclip_folder)))
    assert not torch.equal(tuned(TEXTS), tuned(TEXTS))
    assert torch.equal(tuned.eval()(TEXTS), tuned(TEXTS))


def test_towers_learn_at_their_share_of_the_rate(clip_folder: Path) -> None:
    model = Retriever(
        SliceEncoder(OpenClipImage(str(clip_folder), trained=True, lr_factor=0.01), MeanP()),
        TunedText(OpenClipText(str(clip_folder)), lr_factor=0.001),
        objective=Objective(learn_temperature=True, temperature=0.01),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0, weight_decay=0.5),
    )
    with patch.object(Retriever, "trainer", PropertyMock(return_value=SimpleNamespace(estimated_stepping_batches=100))):
        optimizer = model.configure_optimizers()["optimizer"]
    rate = {
        id(weight): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert {rate[id(weight)] for weight in model.volume_encoder.parameters()} == {(0.01, 0.5)}
    assert {rate[id(weight)] for weight in model.text_encoder.parameters()} == {(0.001, 0.5)}
    assert rate[id(model.project_image.weight)] == (1.0, 0.5)
    assert rate[id(model.objective.log_scale)] == (1.0, 0.0)
    assert len(rate) == sum(1 for _ in model.parameters())


def test_nothing_is_mapped_where_the_towers_share_a_space(clip_folder: Path) -> None:
    encoder = SliceEncoder(OpenClipImage(str(clip_folder)), Statistic("max"), slices=2)
    model = Retriever(encoder, OpenClipText(str(clip_folder)), FirstView(), map_volumes=False)
    volume = torch.rand(2, 1, 4, 16, 16)
    torch.testing.assert_close(model.embed_volume(volume), encoder(volume).cls, rtol=0, atol=0)
    assert model.zero_shot()
    assert not Retriever(encoder, OpenClipText(str(clip_folder))).zero_shot()
    with pytest.raises(UserError, match="volume vectors have 8 numbers and text vectors 16"):
        Retriever(PlainConv(8), HashText(16), map_volumes=False)
    with pytest.raises(UserError, match="needs a volume encoder over slices"):
        Retriever(PlainConv(8), HashText(16), slice_hits=20)
