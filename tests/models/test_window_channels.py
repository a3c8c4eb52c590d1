"""Windows as channels: their values, what becomes of an encoder's first convolution, and what results say of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimcvr.cli import main
from bimcvr.contracts import DataGrid
from bimcvr.data.loading.views import apply_window
from bimcvr.errors import UserError
from bimcvr.models.callbacks import CompileVolumeEncoder
from bimcvr.models.embedder import Embedder
from bimcvr.models.part_checks import check_grid
from bimcvr.models.profiling.memory import footprint
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.cached_features import CachedFeatures
from bimcvr.models.volume.resnet3d import ResNet3D
from bimcvr.models.volume.slice_backbones import OpenClipImage, ResNet2D
from bimcvr.models.volume.slice_encoder import SliceEncoder
from bimcvr.models.volume.slice_pooling import MeanP
from bimcvr.models.volume.vit3d import ViT3D
from bimcvr.models.volume.window_channels import WINDOWS, WindowChannels
from helpers.cli import newest_run
from helpers.toy_modules import HashText, PlainConv

SIZE = (16, 32, 32)
GRID = DataGrid(SIZE, None, (-1000.0, 1000.0))
THREE = ((-1000.0, -600.0), (-150.0, 250.0), (200.0, 1000.0))


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def told(encoder: nn.Module, grid: DataGrid = GRID) -> nn.Module:
    check_grid(encoder, grid)
    return encoder.eval()


@pytest.mark.parametrize("outer", [(-1000.0, 1000.0), (-1024.0, 3071.0)])
def test_a_channel_is_what_its_window_makes_of_the_hu(outer: tuple[float, float]) -> None:
    hu = torch.arange(-1000, 1000, dtype=torch.int16).reshape(10, 10, 20)
    encoder = WindowChannels(PlainConv())
    encoder.accept_grid(GRID._replace(window=outer))
    channels = encoder.channels(apply_window(hu.numpy(), outer)[None, None])
    expected = torch.stack([apply_window(hu.numpy(), window) for window in WINDOWS])
    torch.testing.assert_close(channels[0], expected, rtol=0, atol=1e-5)


def test_noise_outside_the_data_s_window_ends_at_the_borders() -> None:
    encoder = WindowChannels(PlainConv())
    encoder.accept_grid(GRID)
    channels = encoder.channels(torch.tensor([-0.3, 0.5, 1.7]).reshape(1, 1, 1, 1, 3))
    assert channels.reshape(4, 3).tolist() == [[0, 0.5, 1], [0, 1, 1], [0, 0.375, 1], [0, 0, 1]]


ENCODERS = {
    "resnet": lambda: ResNet3D(10, width=4),
    "vit": lambda: ViT3D(SIZE, (8, 16, 16), dim=12, depth=1, heads=2),
    "slices": lambda: SliceEncoder(ResNet2D(width=4), MeanP(), slices=3),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_equal_channels_give_the_old_output(name: str) -> None:
    torch.manual_seed(0)
    plain = ENCODERS[name]().eval()
    torch.manual_seed(0)
    wide = told(WindowChannels(ENCODERS[name](), [GRID.window] * 4))
    assert "inflated from one" in wide.source
    for one, other in zip(plain(noise(2, 1, *SIZE)), wide(noise(2, 1, *SIZE)), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_every_window_reaches_the_encoder_and_is_trained() -> None:
    encoder = WindowChannels(PlainConv())
    encoder.accept_grid(GRID)
    encoder(noise(2, 1, 12, 16, 16)).cls.sum().backward()
    gradient = encoder.encoder.layers[0].weight.grad
    assert gradient.shape == (4, 4, 3, 3, 3)
    assert len({round(float(channel.abs().sum()), 6) for channel in gradient.unbind(1)} - {0.0}) == 4


def test_a_new_stem_differs_by_window_and_is_not_for_pretrained_weights() -> None:
    repeated, new = WindowChannels(PlainConv()), WindowChannels(PlainConv(), new_stem=True)
    first, second = repeated.encoder.layers[0].weight, new.encoder.layers[0].weight
    assert torch.equal(first[:, 0], first[:, 3])
    assert not torch.equal(second[:, 0], second[:, 3])
    assert 0.5 < second.std() / (4 * first).std() < 2
    assert "first convolution new" in new.source
    WindowChannels(SliceEncoder(ResNet2D(width=4), MeanP()), new_stem=True)
    pretrained = ResNet3D(10, width=4)
    pretrained.source = "MedicalNet resnet.pth"
    with pytest.raises(UserError, match=r"throw away a part of ResNet3D's weights \(MedicalNet resnet.pth\)"):
        WindowChannels(pretrained, new_stem=True)


def test_three_windows_are_the_three_channels_of_a_frozen_clip(clip_folder: Path) -> None:
    encoder = told(WindowChannels(SliceEncoder(OpenClipImage(str(clip_folder)), MeanP(), slices=2), THREE))
    assert "takes as it is" in encoder.source
    tower = encoder.encoder.tower
    seen = tower.prepare(encoder.channels(noise(1, 1, 2, 16, 16)).transpose(1, 2).flatten(0, 1))
    for channel, window in enumerate(THREE):
        own = WindowChannels(PlainConv(), [window])
        own.accept_grid(GRID)
        grey = tower.prepare(own.channels(noise(1, 1, 2, 16, 16)).transpose(1, 2).flatten(0, 1))
        torch.testing.assert_close(seen[:, channel], grey[:, channel])
    assert encoder(noise(1, 1, 4, 16, 16)).cls.shape == (1, 16)
    with pytest.raises(UserError, match=r"found none.*or with one of 4 channels"):
        WindowChannels(SliceEncoder(OpenClipImage(str(clip_folder)), MeanP()))
    windowed = OpenClipImage(str(clip_folder), window=(-150.0, 250.0))
    with pytest.raises(UserError, match="around OpenClipImage, which undoes the data's window itself"):
        WindowChannels(SliceEncoder(windowed, MeanP()), THREE)


class TwoStems(nn.Module):
    dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv3d(1, 8, 3), nn.Conv3d(1, 8, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WindowChannels(PlainConv(), []), "give one or more"),
        (lambda: WindowChannels(PlainConv(), [(250, -150)]), r"\[\[250.0, -150.0\]\]"),
        (lambda: WindowChannels(TwoStems()), "in TwoStems, the first, and found 2"),
        (lambda: WindowChannels(WindowChannels(PlainConv())), "take one of both"),
        (lambda: told(WindowChannels(PlainConv()), GRID._replace(window=(-1000.0, 400.0))), "has clipped some"),
        (lambda: WindowChannels(PlainConv())(noise(1, 1, 12, 12, 12)), "was not told the window"),
    ],
)
def test_what_would_go_wrong_in_silence_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_kept_features_are_another_encoder_s_with_other_windows(tmp_path: Path) -> None:
    identities = set()
    for windows in (THREE, WINDOWS[1:3], WINDOWS[2:]):
        torch.manual_seed(0)
        kept = CachedFeatures(WindowChannels(PlainConv(), windows), tmp_path)
        check_grid(kept, GRID)
        kept(noise(1, 1, *SIZE))
        identities.add(kept.identity)
    assert len(identities) == 3


def test_a_dry_run_counts_the_channels() -> None:
    plain = footprint(Retriever(PlainConv(), HashText()), 2, 1, SIZE, "32-true")
    wide = footprint(Retriever(told(WindowChannels(PlainConv())), HashText()), 2, 1, SIZE, "32-true")
    assert wide.activations - plain.activations >= 4 * 2 * 4 * 16 * 32 * 32 // 2
    assert wide.flops > plain.flops


def test_an_old_torch_is_asked_about_the_encoder_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.8.0")
    model: Any = Retriever(WindowChannels(ResNet3D(10, width=4, checkpointing=True)), HashText())
    with pytest.raises(UserError, match="twice a step"):
        CompileVolumeEncoder(backend="eager").setup(None, model, "fit")  # type: ignore[arg-type]


def test_result_checkpoint_and_index_state_the_windows(tiny_config: list[str], tmp_path: Path) -> None:
    config = tmp_path / "windows.yaml"
    config.write_text(
        "model: {volume_encoder: {class_path: bimcvr.models.WindowChannels, init_args: {encoder: {class_path:"
        " helpers.toy_modules.PlainConv}, windows: [[-1000, 1000], [-150, 250]]}}}"
    )
    assert main(["fit", *tiny_config, "--config", str(config), "--trainer.max_epochs", "1"]) == 0
    run = newest_run(tmp_path / "runs")
    assert main(["test", "--checkpoint", str(run / "checkpoints/best.ckpt")]) == 0
    said = json.loads((run / "result.json").read_text())["about"]["volume_encoder"]
    assert said == (
        "WindowChannels(PlainConv; windows -1000 … 1000, -150 … 250 HU as channels,"
        " first convolution inflated from one)"
    )
    embedder = Embedder(run / "checkpoints/best.ckpt", trust=["helpers"])
    assert embedder.names()["volume_encoder"] == said  # what an index states
    kept = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert kept["hyper_parameters"]["volume_encoder"]["init_args"]["windows"] == [[-1000.0, 1000.0], [-150.0, 250.0]]
    hu = torch.full((12, 16, 16), 40, dtype=torch.int16).numpy()
    assert embedder.embed_volumes([hu]).shape == (1, 12)
