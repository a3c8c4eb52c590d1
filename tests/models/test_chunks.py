"""A batch in chunks: the whole batch's losses and gradients, at the memory of one chunk."""

import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bimcvr.cli import main
from bimcvr.contracts import Features
from bimcvr.models.losses.objective import Objective, soft_target
from bimcvr.models.profiling.memory import Footprint, footprint
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.chunks import in_chunks, statistics_warning
from bimcvr.models.volume.resnet3d import ResNet3D
from bimcvr.models.volume.view_fusion import TokenAttention
from bimcvr.models.volume.vit3d import ViT3D
from bimcvr.models.volume.volume_vectors import joined
from helpers.cli import newest_run
from helpers.toy_modules import HashText, PlainConv

SIZE = (12, 16, 16)
LOSS = {"symmetric": True, "temperature": 0.1, "learn_temperature": True, "discrimination": 0.3, "consistency": 0.5}
VIEWS = torch.rand(5, 2, 1, *SIZE, generator=torch.Generator().manual_seed(3))
TEXTS = ["a b", "c d", "e f", "g h", "i j"]
TARGET = soft_target(torch.tensor([1, 0, 2, 4, 3]), torch.full((5,), 0.7))


class Noisy(PlainConv):
    """With dropout."""

    def forward(self, volume: Tensor) -> Features:
        cls, tokens = super().forward(volume)
        return Features(nn.functional.dropout(cls), nn.functional.dropout(tokens))


ENCODERS = {
    "conv": PlainConv,
    "noisy": Noisy,
    "vit": lambda: ViT3D(SIZE, (4, 8, 8), dim=8, depth=2, heads=2),
    "vit, blocks computed again": lambda: ViT3D(SIZE, (4, 8, 8), dim=8, depth=2, heads=2, checkpointing=True),
    "resnet": lambda: ResNet3D(10, width=2, checkpointing=True),
}


def made(encoder: str, chunk_size: int | None) -> Retriever:
    torch.manual_seed(0)
    dim = ENCODERS[encoder]().dim
    fusion, objective = TokenAttention(dim), Objective(**LOSS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Retriever(
            ENCODERS[encoder](), HashText(), fusion=fusion, objective=objective, embed_dim=12, chunk_size=chunk_size
        )


def step(model: Retriever, views: Tensor = VIEWS) -> tuple[Tensor, dict[str, Tensor]]:
    output = model.training_forward(views, TEXTS, TARGET)
    output.losses["loss"].backward()
    return output.losses["loss"].detach(), {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }


@pytest.mark.parametrize("chunk_size", [1, 2, 4])
@pytest.mark.parametrize("encoder", ["conv", "vit", "vit, blocks computed again"])
def test_gradients_are_those_of_the_whole_batch(encoder: str, chunk_size: int) -> None:
    whole, chunked = (step(made(encoder, size).double(), VIEWS.double()) for size in (None, chunk_size))
    torch.testing.assert_close(chunked[0], whole[0], rtol=0, atol=1e-12)
    assert chunked[1].keys() == whole[1].keys()
    assert {"objective.log_scale", "project_image.weight", "project_text.weight", "fusion.query.weight"} < whole[
        1
    ].keys()
    for name, gradient in whole[1].items():
        assert gradient.abs().max() > 1e-6, name
        assert (chunked[1][name] - gradient).abs().max() < 1e-12, name
    # rounding alone tells them apart in float32
    rough, other = (step(made(encoder, size))[1] for size in (None, chunk_size))
    for name, gradient in rough.items():
        assert (other[name] - gradient).abs().max() < 1e-6 + 1e-5 * gradient.abs().max(), name


def test_without_it_and_with_a_chunk_for_all_nothing_is_computed_twice() -> None:
    seen: list[int] = []
    for size in (None, 5, 8, 2):
        model = made("conv", size)
        model.volume_encoder.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
        step(model)
    assert seen == [10, 10, 10, 4, 4, 2, 2, 4, 4]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("encoder", ["noisy", "resnet"])
def test_both_passes_see_the_same_random_numbers_and_autocast(encoder: str, half: bool) -> None:
    """As three chunks whose activations are all kept: the same to the bit, statistics and the next draw included."""
    found = []
    for kept in (True, False):
        model = made(encoder, None if kept else 2)
        if kept:
            whole = model._volume_vectors
            model._volume_vectors = lambda views, run=whole: joined([run(part) for part in views.split(2)])
        torch.manual_seed(7)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss, gradients = step(model)
        found.append((loss, gradients, dict(model.named_buffers()), torch.rand(3)))
    (loss, gradients, buffers, drawn), (other, others, statistics, redrawn) = found
    assert torch.equal(loss, other)
    assert torch.equal(drawn, redrawn)
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            others[name], gradient, rtol=0, atol=1e-6 if not half else 1e-3 * float(gradient.abs().max())
        )
    for name, value in buffers.items():
        torch.testing.assert_close(statistics[name], value, rtol=0, atol=0, equal_nan=True)
    counters = [int(value) for name, value in statistics.items() if name.endswith("num_batches_tracked")]
    assert counters == [3] * len(counters)


def test_a_class_token_does_not_keep_the_tokens_beside_it() -> None:
    for first, *_ in in_chunks(made("vit", None)._volume_vectors, VIEWS, 2, nn.Identity()):
        assert first.untyped_storage().nbytes() == first.nbytes


def test_batch_norm_is_warned_of() -> None:
    told = statistics_warning(ResNet3D(10, width=2), 2, 8)
    assert "over the 2 studies of a chunk, not the 8 of a batch" in told
    assert not statistics_warning(ResNet3D(10, width=2), 8, 8)
    assert not statistics_warning(PlainConv(), 2, 8)


def needs(encoder: str, batch: int, chunk_size: int | None) -> Footprint:
    return footprint(made(encoder, chunk_size), batch, 2, SIZE, "32-true")


@pytest.mark.parametrize("encoder", ["conv", "vit", "resnet"])
def test_the_estimate_knows_chunks(encoder: str) -> None:
    small, whole, chunked = needs(encoder, 2, None), needs(encoder, 8, None), needs(encoder, 8, 2)
    vectors = 8 * 2 * 4 * 4 * 64  # of all studies, with gradients
    # the gradients of the chunks so far, and those of one more before they are added
    assert chunked.activations < small.activations + vectors + 2 * small.gradients
    assert chunked.activations < whole.activations / 2
    assert 1.1 * whole.flops < chunked.flops < 1.6 * whole.flops
    assert chunked.batch == whole.batch


def test_a_run_in_chunks_ends_as_one_without(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = ["--trainer.precision", "64-true", "--trainer.log_every_n_steps", "1"]
    chunks = ["--model.chunk_size", "3"]
    assert main(["fit", *tiny_config, *exact, "--runs", str(tmp_path / "whole")]) == 0
    assert main(["fit", *tiny_config, *exact, *chunks, "--runs", str(tmp_path / "chunks")]) == 0
    whole, chunked = newest_run(tmp_path / "whole"), newest_run(tmp_path / "chunks")
    first, second = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (whole, chunked))
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=0, atol=1e-9)
    logs = [pd.read_csv(next(run.glob("logs/version_0/metrics.csv"))) for run in (whole, chunked)]
    assert "train/gate_entropy" in logs[0]
    pd.testing.assert_frame_equal(logs[0], logs[1], rtol=1e-6)
    capsys.readouterr()
    assert main(["dry-run", *tiny_config, *chunks]) == 0
    assert "8 in all; 3 studies are run at a time" in capsys.readouterr().out
    assert main(["fit", *tiny_config, "--model.chunk_size", "0"]) == 1
    assert "model.chunk_size is 0: it must be 1 or more, or null" in capsys.readouterr().err
