"""The parts of `make gpu` that ask whether a GPU gives what the CPU gives."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torchio
from gpu_setup import Setup
from synthetic_cache import SPACING, smooth_volume, write_cohort
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from bimcvr.cli import main as bimcvr
from bimcvr.data.loading.device_views import make_views
from bimcvr.data.loading.view_draws import NoiseDraw, draw_view
from bimcvr.data.loading.views import apply_view, apply_window
from bimcvr.metrics.ranking.float32_scores import full_float32
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.models.profiling.train_step import volume_step

Facts = dict[str, Any]
ENCODERS = ("ResNet-50", "ViT-Base")

FIT = """
trainer: {max_epochs: 2, precision: 32-true, logger: false, enable_progress_bar: false, enable_model_summary: false,
  devices: 1}
data: {size: [16, 32, 32], batch_size: 4, eval_batch_size: 4, views_on_device: true, keep_in_memory: int16,
  view_1: {class_path: torchio.RandomAffine, init_args: {degrees: 5}}, view_2: torchio.RandomNoise, cutmix: 0.5}
model:
  embed_dim: 16
  text_encoder: {class_path: gpu_setup.HashText}
  volume_encoder:
    class_path: bimcvr.models.ViT3D
    init_args: {size: [16, 32, 32], patch: [8, 16, 16], dim: 24, depth: 2, heads: 2}
"""


def embeddings(setup: Setup) -> Facts:
    """Embed volumes on the device and on the CPU, in full float32 and with what torch allows by default (TF32)."""
    facts: Facts = {}
    volume = torch.stack([apply_window(smooth_volume(setup.size, seed), (-1000, 1000)) for seed in range(2)])[:, None]
    for name in ENCODERS:
        model = setup.model(name).eval()
        with torch.no_grad(), _full_float32():
            exact = normalize(model.embed_volume(volume.to(setup.device)).cpu(), dim=-1)
        with torch.no_grad():
            default = normalize(model.embed_volume(volume.to(setup.device)).cpu(), dim=-1)
            expected = normalize(model.cpu().embed_volume(volume), dim=-1)
        facts[f"{name}, largest difference"] = float((exact - expected).abs().max())
        facts[f"{name}, lowest cosine by default"] = float(cosine_similarity(default, expected).min())
    held = all(value < 1e-4 if "difference" in name else value > 0.999 for name, value in facts.items())
    return {"held": held, **facts}


def ranks(setup: Setup) -> Facts:
    """Rank on the device, ties included: the ranks of the CPU."""
    count = 200 if setup.toy else 5000
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, count, 512, generator=generator)
    image[1::7], text[1::7] = image[0], text[0]  # ties
    group = torch.arange(count) // 2
    there = rank_both(image.to(setup.device), text.to(setup.device), group.to(setup.device))
    here = rank_both(image, text, group)
    wrong = sum(int((a.expected.cpu() != b.expected).sum()) for a, b in zip(there, here, strict=True))
    return {"held": wrong == 0, "queries": 2 * count, "ranks that differ": wrong}


def precision(setup: Setup) -> Facts:
    """Compare a small model's step in bf16 and a compiled one with the eager float32 step: loss and gradient."""
    facts: Facts = {}
    setup = replace(setup, small=True)
    generator = torch.Generator().manual_seed(0)
    batch = setup.batch
    views = torch.rand(batch, 2, 1, *setup.size, generator=generator).to(setup.device)
    text = torch.randn(batch, 512, generator=generator).to(setup.device)
    for name in ENCODERS:
        with _full_float32():
            expected = _step(setup, name, views, text)
            compiled = _step(setup, name, views, text, compiled=True)
        for kind, found in (
            ("bf16", _step(setup, name, views, text, precision="bf16-mixed")),
            ("compiled", compiled),
        ):
            facts[f"{name} {kind}, loss off by"] = abs(found[0] - expected[0]) / abs(expected[0])
            facts[f"{name} {kind}, cosine of gradients"] = float(cosine_similarity(found[1], expected[1], dim=0))
    held = all(
        value < (0.05 if "bf16" in name else 1e-3) if "loss" in name else value > (0.9 if "bf16" in name else 0.999)
        for name, value in facts.items()
    )
    return {"held": held, **facts}


def views(setup: Setup) -> Facts:
    """Make views on the device: window to the bit, TorchIO's affine within 2 HU, noise with its deviation."""
    hu = smooth_volume(setup.size, 1)
    volume = apply_window(hu, (-1000, 900))
    there = apply_window(torch.from_numpy(hu).to(setup.device), (-1000, 900))
    affine, noise = torchio.RandomAffine(scales=0.06, degrees=5, translation=10), torchio.RandomNoise(std=(0.02, 0.05))
    worst, deviation = 0.0, 0.0
    for seed in range(3):
        draws = [[draw_view(view, setup.size, SPACING, seed) for view in (affine, noise)]]
        moved, noisy = make_views(there[None], draws)[0, :, 0].cpu()
        wrong = (moved - apply_view(volume, SPACING, affine, seed)) * 1900
        worst = max(worst, float(wrong.square().mean().sqrt()))
        (draw,) = draws[0][1]
        assert isinstance(draw, NoiseDraw)
        deviation = max(deviation, abs(float((noisy - volume).std()) / draw.std - 1))
    facts = {"window equal": torch.equal(there.cpu(), volume), "affine, HU rms": worst, "deviation off by": deviation}
    return {"held": facts["window equal"] and worst < 2 and deviation < (0.1 if setup.toy else 0.01), **facts}


def resume(setup: Setup) -> Facts:
    """Interrupt a training after its first epoch and resume it: the weights of an undisturbed one."""
    undisturbed = _fit(setup, "undisturbed")
    _fit(setup, "resumed", "--trainer.callbacks+", "gpu_setup.Interrupt", code=1)
    resumed = _fit(setup, "resumed", "--checkpoint", "last", "--trust", "gpu_setup")
    return _same_weights(undisturbed, resumed)


def one_process_of_ddp(setup: Setup) -> Facts:
    """Train under DDP with one process (nccl on a GPU): the weights of a training without it."""
    alone = _fit(setup, "alone")
    try:
        distributed = _fit(setup, "ddp", "--trainer.strategy", "ddp")
        backend = torch.distributed.get_backend() if torch.distributed.is_initialized() else "none"
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return {**_same_weights(alone, distributed), "backend": backend}


PARTS: dict[str, Callable[[Setup], Facts]] = {
    "embeddings": embeddings,
    "ranks": ranks,
    "views on the device": views,
    "bf16 and compile": precision,
    "checkpoint and resume": resume,
    "DDP, one process": one_process_of_ddp,
}


def _step(
    setup: Setup, name: str, views: Tensor, text: Tensor, precision: str = "32-true", compiled: bool = False
) -> tuple[float, Tensor]:
    model = setup.model(name)
    if compiled:
        model.volume_encoder.compile(backend=setup.backend)
    loss = volume_step(model, views, text, precision)
    gradients = [weight.grad.flatten().float() for weight in model.parameters() if weight.grad is not None]
    return float(loss), torch.cat(gradients)


def _fit(setup: Setup, experiment: str, *words: str, code: int = 0) -> dict[str, Tensor]:
    """Run `fit` as the command line does, and return the weights of its last checkpoint."""
    manifest = write_cohort(setup.folder / "small", (16, 32, 32), 8)
    (setup.folder / "fit.yaml").write_text(FIT, encoding="utf-8")
    runs = setup.folder / "runs"
    options = ["--config", str(setup.folder / "fit.yaml"), "--data.manifest", str(manifest), "--runs", str(runs)]
    where = ["--trainer.accelerator", "gpu" if setup.device.type == "cuda" else "cpu", "--experiment", experiment]
    if (ended := bimcvr(["fit", *options, *where, *words])) != code:
        raise RuntimeError(f"fit ended with {ended}, not {code}")
    newest: Path = max((runs / experiment).glob("*"), key=lambda path: path.name)
    checkpoint = torch.load(newest / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = checkpoint["state_dict"]
    return state


def _same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> Facts:
    worst = max(
        float((value.double() - second[name].double()).abs().nan_to_num().max()) for name, value in first.items()
    )
    # AdamW moves a weight by the learning rate, 1e-4, wherever its gradient is nothing but rounding
    return {"held": first.keys() == second.keys() and worst < 1e-3, "weights, largest difference": worst}


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Keep TF32 out of convolutions too, where torch allows it by default."""
    switch: Any = torch.backends.cudnn
    name, exact = "allow_tf32", cast(Any, False)
    if hasattr(torch.backends.cudnn, "conv"):  # from torch 2.9 on
        switch, name, exact = torch.backends.cudnn.conv, "fp32_precision", "ieee"
    before = getattr(switch, name)
    setattr(switch, name, exact)
    try:
        with full_float32():
            yield
    finally:
        setattr(switch, name, before)
