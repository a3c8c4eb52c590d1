"""MedicalNet's weights: the published layout goes in whole, and nothing else does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.resnet import ResNet, get_medicalnet_pretrained_resnet_args

from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.models.volume.resnet3d import LAYERS, ResNet3D


def published(path: Path, depth: int, width: int = 64) -> dict[str, torch.Tensor]:
    """Write a file of MedicalNet's layout: nested, names with `module.`, the head of its segmentation task behind."""
    bias, shortcut = get_medicalnet_pretrained_resnet_args(depth)
    kind = "bottleneck" if depth == 50 else "basic"
    torch.manual_seed(depth)
    net = ResNet(
        kind,
        LAYERS[depth],
        [width, 2 * width, 4 * width, 8 * width],
        n_input_channels=1,
        conv1_t_stride=2,
        feed_forward=False,
        shortcut_type=shortcut,
        bias_downsample=bias,
    )
    with torch.no_grad():
        for buffer in net.buffers():
            buffer.add_(1)
    state = {name: value for name, value in net.state_dict().items() if "num_batches_tracked" not in name}
    head = {"conv_seg.0.weight": torch.ones(2, 2), "conv_seg.0.bias": torch.ones(2)}
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": value for name, value in {**state, **head}.items()}}, path)
    return state


@pytest.mark.parametrize("depth", [10, 18, 50])
def test_every_published_weight_is_taken_and_the_unused_are_named(
    depth: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    state = published(tmp_path / "resnet.pth", depth)
    with caplog.at_level("INFO"):
        encoder = ResNet3D(depth, weights=str(tmp_path / "resnet.pth"))
    own = {
        name.replace("stages.0.0", "conv1").replace("stages.0.1", "bn1").replace("stages.", "layer"): value
        for name, value in encoder.state_dict().items()
        if "num_batches_tracked" not in name
    }
    assert set(own) == set(state)
    assert all(torch.equal(own[name], value) for name, value in state.items())
    said = caplog.text + "".join(capsys.readouterr())
    assert "Not used: conv_seg.0.bias, conv_seg.0.weight" in said
    assert encoder.source == "MedicalNet resnet.pth"
    assert not hasattr(ResNet3D(depth, width=2), "source")


def test_what_does_not_fit_or_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsAbsent, match=r"no file of weights .*gone\.pth.*hf download TencentMedicalNet"):
        ResNet3D(10, weights=str(tmp_path / "gone.pth"))
    published(tmp_path / "ten.pth", 10)
    with pytest.raises(UserError, match=r"does not fit this ResNet: [0-9]+ weights are missing"):
        ResNet3D(50, weights=str(tmp_path / "ten.pth"))
    with pytest.raises(UserError, match="differ in shape"):
        ResNet3D(10, width=16, weights=str(tmp_path / "ten.pth"))
    (tmp_path / "broken.pth").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read"):
        ResNet3D(10, weights=str(tmp_path / "broken.pth"))
    torch.save({"state_dict": pytest.UsageError}, tmp_path / "pickle.pth")
    with pytest.raises(UserError, match="cannot be read"):
        ResNet3D(10, weights=str(tmp_path / "pickle.pth"))
