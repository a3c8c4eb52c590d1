"""Joining slices: every way against a slow reading of its definition, and the order of slices where it matters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.models.volume.slice_pooling import MeanP, SeqLSTM, SeqTransf, Statistic


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_mean_of_units(frames: Tensor) -> Tensor:
    return torch.stack([sum(frame / frame.norm() for frame in volume) / len(volume) for volume in frames])


def slow_lstm(join: SeqLSTM, frames: Tensor) -> Tensor:
    """An LSTM's equations, frame by frame."""
    weight, recurrent, bias, recurrent_bias = (
        getattr(join.lstm, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    out = []
    for volume in frames:
        hidden, cell, states = torch.zeros(frames.shape[-1]), torch.zeros(frames.shape[-1]), []
        for frame in volume:
            into, forget, new, show = (weight @ frame + bias + recurrent @ hidden + recurrent_bias).chunk(4)
            cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
            hidden = show.sigmoid() * cell.tanh()
            states.append(hidden)
        out.append(torch.stack(states))
    return torch.stack(out)


@pytest.mark.parametrize("how", ["mean", "max", "median", "std"])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_statistic_is_numpys(how: Any, count: int) -> None:
    slices = noise(3, count, 6)
    features = Statistic(how)(slices)
    expected = getattr(np, how)(slices.numpy(), axis=1)
    torch.testing.assert_close(features.cls, torch.from_numpy(expected))
    assert torch.equal(features.tokens, features.cls[:, None])


def test_mean_p_weighs_every_slice_alike() -> None:
    slices = noise(2, 5, 8) * torch.tensor([1.0, 100.0, 0.01, 3.0, 7.0])[:, None]
    features = MeanP()(slices)
    torch.testing.assert_close(features.cls, slow_mean_of_units(slices))
    torch.testing.assert_close(features.tokens.mean(1), features.cls)


def test_seq_lstm_is_a_residual_of_lstm_states() -> None:
    torch.manual_seed(0)
    join, slices = SeqLSTM(8), noise(2, 5, 8)
    torch.testing.assert_close(join(slices).cls, slow_mean_of_units(slices + slow_lstm(join, slices)))


def test_seq_transf_is_a_residual_of_clips_blocks(clip_folder: Path) -> None:
    """Started from a CLIP's text tower its blocks are open_clip's own blocks."""
    import open_clip

    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    model = model.float().eval()
    join, slices = SeqTransf(32, layers=2, heads=2, most=10, start=str(clip_folder)), noise(2, 5, 32)
    x = slices + model.positional_embedding[:5]
    for block in model.transformer.resblocks:
        x = block(x)
    torch.testing.assert_close(join(slices).cls, slow_mean_of_units(slices + x), rtol=0, atol=2e-6)
    assert (join(slices).cls - SeqTransf(32, layers=2, heads=2)(slices).cls).abs().max() > 1e-3


def test_only_what_is_made_for_it_sees_the_order_of_slices() -> None:
    torch.manual_seed(1)
    slices = noise(2, 6, 8)
    for join in (MeanP(), Statistic("std")):
        torch.testing.assert_close(join(slices.flip(1)).cls, join(slices).cls)
    for join in (SeqLSTM(8), SeqTransf(8, layers=1)):
        assert (join(slices.flip(1)).cls - join(slices).cls).abs().max() > 1e-4


@pytest.mark.parametrize(
    "make",
    [
        lambda: SeqLSTM(8),
        lambda: SeqTransf(8, layers=2, most=6),
        MeanP,
        Statistic,
        lambda: Statistic("median"),
        lambda: Statistic("std"),
    ],
)
def test_every_weight_and_every_slice_get_a_gradient(make: Any) -> None:
    join, slices = make(), noise(2, 6, 8).requires_grad_()
    join(slices).cls.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in join.parameters())
    assert slices.grad is not None
    untouched = int((slices.grad.abs().sum(-1) == 0).sum())
    assert untouched == 0 or getattr(join, "how", "") == " median"


def test_what_a_transformer_cannot_start_from_is_refused(
    clip_folder: Path, biomedclip_folder: Path, network_off: list[Any], hub_offline: None
) -> None:
    with pytest.raises(UserError, match="cannot start"):
        SeqTransf(16, layers=2, start=str(clip_folder))
    with pytest.raises(UserError, match="cannot start"):
        SeqTransf(32, layers=3, start=str(clip_folder))
    with pytest.raises(UserError, match="cannot start"):
        SeqTransf(32, layers=2, most=78, start=str(clip_folder))
    with pytest.raises(UserError, match="cannot start"):
        SeqTransf(32, layers=2, start=str(biomedclip_folder))
    with pytest.raises(WeightsAbsent, match="hf download"):
        SeqTransf(512, start="ViT-B-32", pretrained="openai")
    with pytest.raises(UserError, match="has 4 positions but got 5 slices"):
        SeqTransf(8, most=4)(noise(1, 5, 8))
