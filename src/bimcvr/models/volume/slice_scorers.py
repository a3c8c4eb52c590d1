"""Scores of volumes that are not one cosine: 3D-MIR's search slice by slice (Ben Abacha et al. 2023, methods 1 and 3).

A query's best slices of the whole gallery are its hits; a volume is then scored by its own hits among them.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.metrics.ranks import TIE

Fusion = Literal["freq", "max", "sum"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
_CHUNK = 32  # queries at a time


def slice_scores(query: Tensor, slices: Tensor, hits: int) -> dict[Fusion, Tensor]:
    """Score volumes by their slices' hits.

    Hits are all slices whose cosine reaches that of the query's `hits`-th best; slices tied with it are hits too, so that
    no order of the gallery decides. A volume without a hit scores below all that have one, tied with its like.

    Args:
        query: (Q, E).
        slices: (N, S, E), S slices of each of N volumes.
        hits: how many slices a query has for hits; 20 in the original.

    Returns:
        By the way of fusion (Q, N) float64: `freq`, the number of a volume's hits; `max`, their best cosine; `sum`, the sum of
        their cosines.
    """
    parts = [_fuse(cosine, hits) for cosine in _cosines(query, slices)]
    return {how: torch.cat([part[how] for part in parts]) for how in FUSIONS}


def _cosines(query: Tensor, slices: Tensor) -> Iterator[Tensor]:
    """Yield (q, N, S) float64 cosines."""
    gallery = normalize(slices.double(), dim=-1).flatten(0, 1)
    for some in torch.split(normalize(query.double(), dim=-1), _CHUNK):
        yield (some @ gallery.T).reshape(len(some), *slices.shape[:2])


def _fuse(cosine: Tensor, hits: int) -> dict[Fusion, Tensor]:
    flat = cosine.flatten(1)
    least = flat.topk(min(hits, flat.shape[1]), dim=1).values[:, -1]
    hit = cosine >= least[:, None, None] - TIE
    freq = hit.sum(-1).double()
    none = -(cosine.shape[-1] + 1.0)  # below the sum of all cosines that a volume can have
    return {
        "freq": freq,
        "max": torch.where(hit, cosine, none).amax(-1),
        "sum": torch.where(freq > 0, torch.where(hit, cosine, 0.0).sum(-1), none),
    }
