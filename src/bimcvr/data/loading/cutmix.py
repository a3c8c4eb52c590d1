"""Cutmix: paste a box of another study's volume into both views of a study (paper, section 3)."""

import torch

from bimcvr.contracts import Batch

Box = tuple[slice, slice, slice]


def cutmix(batch: Batch, generator: torch.Generator) -> Batch:
    """Paste the same box of the same partner into every view of each study.

    The side of the box is the cube root of 1 − λ, λ uniform in [0, 1]; its centre is uniform and the box is
    clipped at the borders. The share of voxels that a study keeps is its weight in the soft target (Yun et al.,
    CutMix, ICCV 2019).

    Args:
        batch: with `views` (B, V, 1, D, H, W).
        generator: for the draws of partner and box.

    Returns:
        A new batch with mixed `views`, `partner` (B,) and `kept` (B,).
    """
    views = batch["views"]
    partner = torch.randperm(len(views), generator=generator)
    mixed, kept = views.clone(), torch.empty(len(views))
    for study in range(len(views)):
        box = _random_box(views.shape[-3:], generator)
        d, h, w = box
        mixed[study, ..., d, h, w] = views[int(partner[study]), ..., d, h, w]
        pasted = _voxels(box) if partner[study] != study else 0
        kept[study] = 1 - pasted / views[0, 0].numel()
    return {**batch, "views": mixed, "partner": partner, "kept": kept}


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
