"""Cutmix: paste a box of another study's volume into both views of a study (paper, section 3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from bimcvr.contracts import Batch

Box = tuple[slice, slice, slice]


class Mix(NamedTuple):
    """What is pasted into each of B studies: the box of which partner, a position in the batch."""

    partner: list[int]
    boxes: list[Box]


def cutmix(batch: Batch, generator: torch.Generator) -> Batch:
    """Paste the same box of the same partner into every view of each study.

    Args:
        batch: with `views` (B, V, 1, D, H, W).
        generator: for the draws of partner and box.

    Returns:
        A new batch with mixed `views`, `partner` (B,) and `kept` (B,).
    """
    views = batch["views"]
    mix, kept = draw_mix(len(views), views.shape[-3:], generator)
    return {**batch, "views": paste(views, mix), "partner": torch.tensor(mix.partner), "kept": kept}


def draw_mix(studies: int, size: torch.Size, generator: torch.Generator) -> tuple[Mix, Tensor]:
    """Draw a partner and a box for each study.

    The side of the box is the cube root of 1 − λ, λ uniform in [0, 1]; its centre is uniform and the box is
    clipped at the borders. The share of voxels that a study keeps is its weight in the soft target (Yun et al.,
    CutMix, ICCV 2019).

    Args:
        studies: B.
        size: of a volume, (D, H, W).
        generator: for the draws.

    Returns:
        What is pasted where, and `kept` (B,).
    """
    partner = [int(position) for position in torch.randperm(studies, generator=generator)]
    boxes, kept = [_random_box(size, generator) for _ in range(studies)], torch.empty(studies)
    for study, box in enumerate(boxes):
        pasted = _voxels(box) if partner[study] != study else 0
        kept[study] = 1 - pasted / size.numel()
    return Mix(partner, boxes), kept


def paste(views: Tensor, mix: Mix) -> Tensor:
    """Return a copy of views (B, V, 1, D, H, W) with each study's box of its partner pasted in."""
    mixed = views.clone()
    for study, (partner, (d, h, w)) in enumerate(zip(*mix, strict=True)):
        mixed[study, ..., d, h, w] = views[partner, ..., d, h, w]
    return mixed


def _random_box(shape: torch.Size, generator: torch.Generator) -> Box:
    side = (1 - float(torch.rand((), generator=generator))) ** (1 / 3)
    centre = torch.rand(3, generator=generator).tolist()
    d, h, w = (
        slice(max(0, round((c - side / 2) * n)), min(n, round((c + side / 2) * n)))
        for c, n in zip(centre, shape, strict=True)
    )
    return d, h, w


def _voxels(box: Box) -> int:
    depth, height, width = (max(0, s.stop - s.start) for s in box)
    return int(depth * height * width)
