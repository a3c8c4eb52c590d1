"""Window, views and cutmix of a whole batch on the training device, without TorchIO."""

from typing import NotRequired, TypedDict, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from bimcvr.contracts import Batch
from bimcvr.data.loading.cutmix import Mix, paste
from bimcvr.data.loading.view_draws import AffineDraw, Draws, NoiseDraw
from bimcvr.data.loading.views import Window, apply_window

_AT_A_TIME = {"cpu": 2**20}
"""Voxels that are resampled at a time, each with 12 bytes for its place: what a CPU's cache holds, …"""

_BY_OTHERS = 2**25
"""… and enough to keep a GPU busy."""


class RawBatch(TypedDict):
    """A batch as workers send it where the device makes the views.

    Attributes:
        voxels: (B, D, H, W), int16 HU, or uint8 shares of the window.
        draws: of each study, of each view, what is done; only in training.
        mix: what cutmix pastes, for batches that are mixed; `partner` and `kept` are then those of the batch.
        text: B strings, already sampled.
        index: (B,) int64, the row of the manifest.
    """

    voxels: Tensor
    draws: NotRequired[list[list[Draws]]]
    mix: NotRequired[Mix]
    partner: NotRequired[Tensor]
    kept: NotRequired[Tensor]
    text: list[str]
    index: Tensor


def finish(raw: RawBatch, window: Window) -> Batch:
    """Make the batch that a model gets from the one that was sent to its device.

    Args:
        raw: on the device.
        window: the HU that become 0 and 1.
    """
    batch = {name: value for name, value in raw.items() if name not in ("voxels", "draws", "mix")}
    volumes = apply_window(raw["voxels"], window)
    if "draws" not in raw:
        return cast(Batch, {**batch, "volume": volumes[:, None]})
    views = make_views(volumes, raw["draws"])
    return cast(Batch, {**batch, "views": paste(views, raw["mix"]) if "mix" in raw else views})


def make_views(volumes: Tensor, draws: list[list[Draws]]) -> Tensor:
    """Make all views of all studies in one pass.

    Args:
        volumes: (B, D, H, W) float, on any device.
        draws: of each of B studies, of each of V views, what is done to it.

    Returns:
        (B, V, 1, D, H, W).
    """
    views = len(draws[0])
    flat = [view for study in draws for view in study]
    out = volumes[:, None].repeat(1, views, 1, 1, 1).flatten(0, 1)
    for step in range(max(map(len, flat))):
        at_step = {number: view[step] for number, view in enumerate(flat) if step < len(view)}
        affine = {number: draw for number, draw in at_step.items() if isinstance(draw, AffineDraw)}
        if len(affine) == len(out):
            out = resample(out, list(affine.values()))
        elif affine:
            out[list(affine)] = resample(out[list(affine)], list(affine.values()))
        for number, draw in at_step.items():
            if isinstance(draw, NoiseDraw):
                generator = torch.Generator(out.device).manual_seed(draw.seed)
                noise = torch.randn(out[number].shape, generator=generator, device=out.device)
                out[number].add_(noise.mul_(draw.std).add_(draw.mean))
    return out.view(-1, views, 1, *out.shape[1:])


def resample(volumes: Tensor, draws: list[AffineDraw]) -> Tensor:
    """Resample volumes, linear between voxels, as ITK does.

    Up to half a voxel beyond the middle of an outer voxel its value holds; what lies further out is filled.

    Args:
        volumes: (N, D, H, W) float.
        draws: one for each.

    Returns:
        (N, D, H, W).
    """
    lowest = volumes.flatten(1).amin(1)
    fills = torch.tensor([np.nan if draw.fill is None else draw.fill for draw in draws], dtype=volumes.dtype)
    fills = fills.to(volumes.device, non_blocking=True)
    matrices = torch.from_numpy(np.stack([draw.matrix for draw in draws])).to(volumes.device, torch.float32)
    filled = torch.where(fills.isnan(), lowest, fills)[:, None, None, None]
    count, depth, height, width = volumes.shape
    slices = max(1, _AT_A_TIME.get(volumes.device.type, _BY_OTHERS) // (count * height * width))
    out = torch.empty_like(volumes)
    for first in range(0, depth, slices):
        slab = out[:, first : first + slices]
        places = _places(matrices, volumes.shape[1:], range(first, first + slab.shape[1]))
        sampled = grid_sample(
            volumes[:, None], places.permute(0, 2, 3, 4, 1), mode="bilinear", padding_mode="border", align_corners=False
        )[:, 0]
        torch.where(places.abs_().amax(1) > 1, filled, sampled, out=slab)
    return out


def _places(matrices: Tensor, size: torch.Size, slices: range) -> Tensor:
    """Return where matrices (N, 3, 4) take the voxels of some slices from: (N, 3, D', H, W), along W, H and D."""
    depth, height, width = (
        (torch.arange(first, last, device=matrices.device, dtype=torch.float32) * 2 + 1) / side - 1
        for side, first, last in zip(size, (slices.start, 0, 0), (slices.stop, *size[1:]), strict=True)
    )
    # sums of small parts: the places of all voxels are written once
    along_w = matrices[:, :, 0, None] * width + matrices[:, :, 3, None]
    plane = along_w[:, :, None] + (matrices[:, :, 1, None] * height)[..., None]
    return plane[:, :, None] + (matrices[:, :, 2, None] * depth)[..., None, None]
