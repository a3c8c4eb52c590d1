"""Checkpointing, compilation and memory format change memory and time, never outputs, gradients or statistics."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.models.callbacks import CompileVolumeEncoder
from bimcvr.models.volume.resnet3d import ResNet3D
from bimcvr.models.volume.vit3d import ViT3D

SIZE = (16, 32, 32)
ENCODERS: dict[str, Callable[[bool], nn.Module]] = {
    "resnet10": lambda on: ResNet3D(10, width=4, checkpointing=on),
    "resnet50": lambda on: ResNet3D(50, width=2, max_pool=False, checkpointing=on),
    "vit": lambda on: ViT3D(SIZE, (8, 16, 16), dim=12, depth=3, heads=2, checkpointing=on),
}


def noise(seed: int) -> Tensor:
    return torch.randn(3, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain, other = ENCODERS[name](False), ENCODERS[name](True)
    other.load_state_dict(plain.state_dict())
    return plain, other


def steps(encoder: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
    """Two forward and backward passes; returns the second's features."""
    for seed in (0, 1):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            features = encoder(noise(seed))
        (features.cls.float().square().sum() + features.tokens.float().sum(1).square().mean()).backward()
    return torch.cat([features.cls.detach(), features.tokens.detach().flatten(1)], 1)


def assert_alike(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    """Gradients and buffers, running statistics and their counters among them.

    To a share of each tensor's largest value.
    """
    compared = 0
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            assert (a.grad - b.grad).abs().max() <= tolerance * a.grad.abs().max(), name
            compared += 1
    for (name, a), (_, b) in zip(one.named_buffers(), other.named_buffers(), strict=True):
        assert (a - b).abs().max() <= tolerance * a.abs().max(), name
    assert compared


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ENCODERS)
def test_checkpointing_changes_no_bit(name: str, dtype: torch.dtype) -> None:
    plain, other = pair(name)
    assert torch.equal(steps(plain, dtype), steps(other, dtype))
    assert_alike(plain, other, tolerance=0)
    counters = [int(value) for key, value in other.named_buffers() if key.endswith("num_batches_tracked")]
    assert counters == [2] * len(counters)


@pytest.mark.parametrize("name", ENCODERS)
def test_checkpointing_really_computes_again(name: str) -> None:
    plain, other = pair(name)
    counts = {}
    for key, encoder in (("plain", plain), ("other", other)):
        calls = [0]
        last = [part for part in encoder.modules() if isinstance(part, (nn.Conv3d, nn.Linear))][1]
        last.register_forward_hook(lambda *_, calls=calls: calls.__setitem__(0, calls[0] + 1))
        steps(encoder)
        counts[key] = calls[0]
    assert counts == {"plain": 2, "other": 4}


def test_without_gradients_nothing_is_computed_twice() -> None:
    plain, other = (encoder.eval() for encoder in pair("resnet10"))
    with torch.no_grad():
        assert torch.equal(plain(noise(0)).cls, other(noise(0)).cls)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["resnet10", "vit"])
def test_a_compiled_encoder_gives_the_same_under_the_same_names(name: str, checkpointing: bool) -> None:
    """aot_eager traces, differentiates and partitions as inductor does, without its minutes of kernel building."""
    if checkpointing and name == "resnet10" and Version(torch.__version__) < Version("2.9"):
        pytest.skip("torch 2.8 moves BatchNorm's statistics twice; CompileVolumeEncoder refuses it")
    torch._dynamo.reset()
    plain, other = pair(name)
    compiled = other if checkpointing else ENCODERS[name](False)
    compiled.load_state_dict(plain.state_dict())
    compiled.compile(backend="aot_eager")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(steps(compiled), steps(plain), rtol=1e-4, atol=1e-5)
    assert_alike(plain, compiled, tolerance=1e-4)


@pytest.mark.parametrize(("version", "checkpointing", "refused"), [("2.8.0", True, True), ("2.8.0", False, False)])
def test_an_old_torch_does_not_move_statistics_twice(
    version: str, checkpointing: bool, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    model: Any = SimpleNamespace(volume_encoder=ENCODERS["resnet10"](checkpointing))
    with pytest.raises(UserError, match="twice a step") if refused else nullcontext():
        CompileVolumeEncoder(backend="eager").setup(None, model, "fit")  # type: ignore[arg-type]


def test_channels_last_gives_what_channels_first_gives() -> None:
    """ResNet3D lays weights and volumes out channels last; the same layers on contiguous tensors agree to rounding."""
    torch.manual_seed(0)
    last = ResNet3D(10, width=4)
    assert last.stages[0][0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    first = ResNet3D(10, width=4)
    first.load_state_dict(last.state_dict())
    for weight in first.parameters():
        weight.data = weight.data.contiguous()
    x = noise(0)
    for stage in first.stages:
        x = stage(x)
    assert x.is_contiguous()
    torch.testing.assert_close(last(noise(0)).cls, x.flatten(2).mean(2), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_may_be_compiled_and_its_checkpoint_tested_without(tiny_config: list[str], tmp_path: Path) -> None:
    words = [
        "--trainer.callbacks+",
        "bimcvr.models.CompileVolumeEncoder",
        "--trainer.callbacks.backend",
        "aot_eager",
        "--trainer.max_epochs",
        "1",
    ]
    assert main(["fit", *tiny_config, "--experiment", "plain", "--trainer.max_epochs", "1"]) == 0
    assert main(["fit", *tiny_config, "--experiment", "compiled", *words]) == 0
    plain, compiled = (
        torch.load(next((tmp_path / "runs" / name).glob("*/checkpoints/last.ckpt")), weights_only=True)["state_dict"]
        for name in ("plain", "compiled")
    )
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4)
    best = next((tmp_path / "runs/compiled").glob("*/checkpoints/best.ckpt"))
    assert main(["test", "--ckpt_path", str(best), "--trainer.callbacks", "null"]) == 0
