"""2D towers over slices: which slices, in which order, what the tower is given, what is trained and what is kept."""

import doctest
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.models.pretrained.frozen import with_hidden
from bimcvr.models.volume import slice_encoder as slice_encoders
from bimcvr.models.volume.slice_backbones import OpenClipImage, ResNet2D
from bimcvr.models.volume.slice_encoder import SliceEncoder, evenly
from bimcvr.models.volume.slice_pooling import MeanP, SeqLSTM, SeqTransf, Statistic

BIOMEDCLIP = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"


class Mean(nn.Module):
    """A tower whose feature is the slice's mean, so that a feature tells which slice it saw."""

    source, dim = "mean", 1

    def forward(self, slices: Tensor) -> Tensor:
        return slices.mean((2, 3))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def peer(folder: Path) -> Any:
    """open_clip's own full model and its preprocessing, read from a folder."""
    import open_clip

    text = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    if "hf_model_name" in text:
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}", text_cfg=text)
    return model.float().eval(), preprocess


def original_input(preprocess: Any, hu: np.ndarray) -> Tensor:
    """What 3D-MIR's original gives its tower: a PIL image of raw HU through the model's own preprocessing."""
    from PIL import Image

    return preprocess(Image.fromarray(hu.astype(np.float32)))


def test_examples() -> None:
    assert doctest.testmod(slice_encoders) == (0, 1)


@given(st.integers(1, 300), st.integers(1, 300))
def test_slices_are_even_in_order_and_from_the_first_to_the_last(depth: int, count: int) -> None:
    chosen = evenly(depth, count)
    assert len(chosen) == min(depth, count)
    assert chosen == sorted(set(chosen))
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, depth - 1)
        gaps = np.diff(chosen)
        assert gaps.max() - gaps.min() <= 1


def test_a_slice_s_feature_stands_in_its_place() -> None:
    places = torch.arange(3)[:, None] * 100 + torch.arange(10)  # of volume and slice
    volume = places[:, None, :, None, None].float() * torch.ones(1, 1, 1, 4, 5)
    seen = SliceEncoder(Mean(), MeanP(), slices=4).embed_slices(volume)
    assert torch.equal(seen[..., 0], places[:, [0, 3, 6, 9]].float())
    assert torch.equal(SliceEncoder(Mean(), MeanP()).embed_slices(volume)[..., 0], places.float())


@pytest.mark.parametrize("join", [MeanP, lambda: SeqLSTM(32), lambda: SeqTransf(32, layers=1), Statistic])
def test_the_small_tower_meets_the_contract_and_trains_throughout(join: Any) -> None:
    encoder = SliceEncoder(ResNet2D(10, width=4), join(), slices=6)
    features = encoder(noise(2, 1, 9, 32, 32))
    assert features.cls.shape == (2, encoder.dim) == (2, 32)
    assert features.tokens.shape[::2] == (2, 32)
    features.tokens.mean(1).square().sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters())
    assert "from scratch" in encoder.source
    assert "6 slices" in encoder.source


def test_a_join_of_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="SeqLSTM is made for vectors of 8 numbers, but the tower gives 32"):
        SliceEncoder(ResNet2D(10, width=4), SeqLSTM(8))


@pytest.mark.parametrize("which", ["biomedclip_folder", "clip_folder"])
def test_a_published_folder_gives_open_clips_features(
    which: str, request: pytest.FixtureRequest, network_off: list[Any], hub_offline: None
) -> None:
    from torchvision.transforms.v2 import Compose, InterpolationMode, Normalize, Resize

    folder = request.getfixturevalue(which)
    tower, (model, preprocess) = OpenClipImage(str(folder)), peer(folder)
    slices = noise(3, 1, 40, 40)
    own = (
        Compose([Resize(tower.size, InterpolationMode.BICUBIC, antialias=True)])(slices)
        .clamp(0, 1)
        .expand(-1, 3, -1, -1)
    )
    expected = Normalize(preprocess.transforms[-1].mean, preprocess.transforms[-1].std)(own)
    torch.testing.assert_close(tower.prepare(slices), expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(tower(slices), model.encode_image(expected), rtol=0, atol=1e-5)
    assert tower(slices).shape == (3, tower.dim)
    assert network_off == []


def test_raw_is_what_the_original_feeds_and_a_window_is_a_window(clip_folder: Path) -> None:
    _, preprocess = peer(clip_folder)
    hu = np.random.default_rng(0).uniform(-300, 600, (40, 40))
    hu[:, 20:] = np.linspace(-1000, 1000, 40)[:, None]
    share = torch.from_numpy((hu + 1000) / 2000).float()[None, None]
    level = 1 / 255 / min(preprocess.transforms[-1].std)
    raw = OpenClipImage(str(clip_folder), window="raw").prepare(share)[0]
    assert (raw - original_input(preprocess, hu)).abs().max() <= 1.01 * level  # one grey level, by rounding
    assert ((raw - original_input(preprocess, hu)).abs() > 1e-4).float().mean() < 0.02
    lung = OpenClipImage(str(clip_folder), window=(-1000, 200)).prepare(share)[0]
    windowed = torch.from_numpy(np.clip((hu + 1000) / 1200, 0, 1)).float()
    by_hand = OpenClipImage(str(clip_folder)).prepare(windowed[None, None])[0]
    torch.testing.assert_close(lung, by_hand, rtol=0, atol=1e-4)
    assert (lung - raw).abs().max() > 0.5


def test_a_slice_that_is_not_square_is_cut_to_its_middle(clip_folder: Path) -> None:
    tower, square = OpenClipImage(str(clip_folder)), noise(1, 1, 32, 32)
    wide = torch.cat([torch.zeros(1, 1, 32, 16), square, torch.zeros(1, 1, 32, 16)], dim=3)
    torch.testing.assert_close(tower.prepare(wide)[..., 2:-2], tower.prepare(square)[..., 2:-2], rtol=0, atol=1e-4)


@pytest.mark.parametrize("which", ["biomedclip_folder", "clip_folder"])
def test_a_frozen_tower_stays_out_of_training_and_checkpoints(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    encoder = SliceEncoder(OpenClipImage(str(folder)), Statistic("mean"), slices=3).train()
    assert list(encoder.parameters()) == []
    assert encoder.state_dict() == {}
    frozen: Any = encoder.tower.tower
    assert not any(module.training for module in frozen.tower.modules())
    volume = noise(2, 1, 5, 20, 20).requires_grad_()
    assert not encoder(volume).cls.requires_grad
    assert str(folder) in encoder.source
    assert {*frozen.tower.modules(), *encoder.modules()} == set(with_hidden(encoder))


def test_a_frozen_tower_takes_many_slices_in_parts(clip_folder: Path) -> None:
    tower = OpenClipImage(str(clip_folder))
    slices = noise(130, 1, 16, 16)
    torch.testing.assert_close(tower(slices), torch.cat([tower(part) for part in slices.split(50)]), rtol=0, atol=1e-5)


def test_a_trained_tower_trains_whole_and_is_in_the_checkpoint(clip_folder: Path) -> None:
    encoder = SliceEncoder(OpenClipImage(str(clip_folder), trained=True, lr_factor=0.5), MeanP())
    encoder(noise(2, 1, 3, 16, 16)).cls.sum().backward()
    assert list(encoder.parameters())
    assert all(weight.grad is not None for weight in encoder.parameters())
    assert "tower.tower.conv1.weight" in encoder.state_dict()
    assert "trained" in encoder.source


@pytest.mark.parametrize(
    "make", [lambda: OpenClipImage(BIOMEDCLIP), lambda: OpenClipImage("ViT-B-32", pretrained="openai")]
)
def test_a_published_name_without_weights_is_no_random_tower(
    make: Any, network_off: list[Any], hub_offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsAbsent, match=r"hf download \S+/\S+ --local-dir DIR"):
        make()


@pytest.mark.parametrize("change", ["lacks", "has more", "other shape", "no image tower", "padded images"])
def test_a_folder_whose_image_tower_does_not_fit_is_refused(
    biomedclip_folder: Path, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(biomedclip_folder, folder)
    weights, config = folder / "open_clip_pytorch_model.bin", folder / "open_clip_config.json"
    state, whole = torch.load(weights, weights_only=True), json.loads(config.read_text())
    name = "visual.head.proj.weight"
    if change == "lacks":
        del state[name]
    elif change == "has more":
        state["visual.head.surplus"] = torch.ones(2)
    elif change == "other shape":
        state[name] = torch.ones(2, 2)
    elif change == "no image tower":
        del whole["model_cfg"]["vision_cfg"]
    else:
        whole["preprocess_cfg"]["resize_mode"] = "longest"
    torch.save(state, weights)
    config.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"do not fit|vision_cfg|cannot be made") as caught:
        OpenClipImage(str(folder))
    assert str(folder) in str(caught.value)
