"""The counted footprint of a step against parameters, a formula for operations, and memory really taken on the CPU."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from bimcvr.contracts import Features
from bimcvr.models.profiling.memory import footprint, parameters
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.resnet3d import ResNet3D
from bimcvr.models.volume.vit3d import ViT3D
from helpers.cli import environment
from helpers.toy_modules import HashText

SIZE = (16, 32, 32)


class OneLinear(nn.Module):
    """One matrix over the flattened volume: operations and bytes are known by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 8
        self.layer = nn.Linear(16 * 32 * 32, 8, bias=False)

    def forward(self, volume: torch.Tensor) -> Features:
        cls = self.layer(volume.flatten(1))
        return Features(cls, cls[:, None])


def test_a_linear_encoder_is_counted_exactly() -> None:
    model = Retriever(OneLinear(), HashText(16))
    needs = footprint(model, 4, 2, SIZE, "32-true")
    encoder, head = 16 * 32 * 32 * 8, 8 * 16
    assert needs.weights - 4 * (encoder + head) < 64  # the temperature, which is fixed
    assert needs.gradients == 4 * (encoder + head)
    assert needs.optimizer == pytest.approx(2 * needs.gradients, abs=64)  # AdamW: two moments, a step a tensor
    assert needs.batch == 4 * (4 * 2 * 16 * 32 * 32 + 4 * 16)
    # the encoder: forward and its weight's gradient, on 8 volumes; the head: both and its input's, on 4; the cosines
    least = 2 * 2 * 8 * encoder + 3 * 2 * 4 * head
    assert least <= needs.flops <= least + 3 * 2 * 4 * 4 * 16


def test_parameters_are_told_by_part() -> None:
    model = Retriever(ViT3D(SIZE, dim=12, depth=2, heads=2), HashText(16), embed_dim=5)
    counted = parameters(model)
    assert counted["volume_encoder"][1] == 2 * 2 * 12  # MONAI's unused norms, frozen
    assert counted["project_text"] == (16 * 5, 0)
    assert counted["objective"] == (0, 1)
    assert sum(trained for trained, _ in counted.values()) == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )


ENCODERS = {
    "resnet": lambda on: ResNet3D(50, width=8, checkpointing=on),
    "vit": lambda on: ViT3D((32, 64, 64), (8, 8, 8), dim=48, depth=6, heads=4, checkpointing=on),
}


def needs_of(name: str, checkpointing: bool, precision: str = "32-true") -> Any:
    return footprint(Retriever(ENCODERS[name](checkpointing), HashText(16)), 4, 2, (32, 64, 64), precision)


@pytest.mark.parametrize("name", ENCODERS)
def test_bf16_and_checkpointing_take_less_and_checkpointing_computes_more(name: str) -> None:
    plain, half, again = needs_of(name, False), needs_of(name, False, "bf16-mixed"), needs_of(name, True)
    assert needs_of(name, False) == plain
    assert 0.4 * plain.activations < half.activations < 0.75 * plain.activations
    assert again.activations < 0.7 * plain.activations
    # a forward pass is a third of a step, more where the first layer is large: it has no input gradient
    assert 1.15 * plain.flops < again.flops < 1.5 * plain.flops
    assert half.flops == plain.flops


MEASURE = """
import gc, json, sys, torch
from bimcvr.models.profiling.memory import footprint
from bimcvr.models.retriever import Retriever
from bimcvr.models.profiling.train_step import peak_bytes, random_batch, reset_peak, volume_step
from models.test_memory_estimate import ENCODERS
from helpers.toy_modules import HashText
for name in ENCODERS:
    for checkpointing, chunk in ((False, None), (True, None), (False, 2)):
        model = Retriever(ENCODERS[name](checkpointing), HashText(16), chunk_size=chunk)
        batch = random_batch(model, 4, 2, (32, 64, 64), "cpu")
        volume_step(model, *batch)
        model.zero_grad()
        gc.collect()
        before = reset_peak(torch.device("cpu"))
        volume_step(model, *batch)
        taken = peak_bytes(torch.device("cpu")) - before
        needs = footprint(model, 4, 2, (32, 64, 64), "32-true")
        print("#" + json.dumps([name, checkpointing, chunk, taken, needs.gradients + needs.activations]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_estimate_is_near_what_a_step_takes_on_the_cpu() -> None:
    """Within a factor of 1.25: convolutions take workspace that is not counted."""
    # freed blocks go back to the system at once, so that the resident size is what is in use
    returned = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(), **returned},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("#")]
    assert len(rows) == 6
    for name, checkpointing, chunk, taken, estimated in rows:
        said = (
            f"{name}, checkpointing {checkpointing}, chunk {chunk}: measured {taken / 2**20:.1f} MiB, estimated"
            f" {estimated / 2**20:.1f} MiB"
        )
        print(said)
        assert taken > 10 * 2**20, said
        assert 1 / 1.25 < estimated / taken < 1.25, said
