"""What the losses see of a batch of volumes, and its parts: of one view, of a chunk."""

from typing import NamedTuple

import torch
from torch import Tensor

from bimcvr.contracts import Features


class VolumeVectors(NamedTuple):
    """The vectors of B volumes.

    Attributes:
        first: (B, C), `cls` of view 1.
        second: (B, C), `cls` of view 2.
        image: (B, E), the fused views in the common space.
        entropy: the mean entropy that the fusion states, a scalar, or None.
    """

    first: Tensor
    second: Tensor
    image: Tensor
    entropy: Tensor | None


def joined(chunks: list[VolumeVectors]) -> VolumeVectors:
    """Put the vectors of a batch's chunks together; the entropy is the mean over their volumes."""
    if len(chunks) == 1:
        return chunks[0]
    first, second, image = (torch.cat(parts) for parts in list(zip(*chunks, strict=True))[:3])
    stated = [chunk.entropy * len(chunk.first) for chunk in chunks if chunk.entropy is not None]
    return VolumeVectors(first, second, image, torch.stack(stated).sum() / len(first) if stated else None)


def view_of(features: Features, size: int, position: int) -> Features:
    """Take one view's share of features that were computed for all views of `size` studies in one pass."""
    return Features(*(part[position * size : (position + 1) * size] for part in features))
