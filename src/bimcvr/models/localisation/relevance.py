"""How much each part of a volume adds to its score for a query: by the encoder's maps, its tokens, or input gradients.

The score of a query q and a volume v is cos(q, v). A convolutional encoder has maps A of several stages. Each has a
relevance ⟨∂s/∂A, A⟩, the gradient times activation of each position, summed over channels (HiResCAM, Draelos and Carin
2020, arXiv 2011.08891). A coarse one knows what it sees, a fine one where: what speaks for the query in all of them is
the product of their parts above 0, each as a share of its highest, on the finest grid.

Without such maps, where v comes from tokens t₁ … t_N, the relevance of token i is N · ⟨∂s/∂tᵢ, tᵢ⟩, with the length of
v held fixed. Fusion by the first view and the linear map make v a mean of mapped tokens; the relevance is then exactly
the token's similarity q·P tᵢ / (‖q‖ ‖v‖), and its mean over the tokens is the score.

Where no token map leads to v, or one of fewer than 64 tokens, it is gradient times input, smoothed by a mean over boxes
(Shrikumar et al. 2016, arXiv 1605.01713): noisier, and for any encoder that gives gradients.
"""

import math
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, normalize

from bimcvr.contracts import Features, HasFeatureMaps, HasTokenGrid, TokenGrid
from bimcvr.errors import UserError
from bimcvr.models.localisation.spread import on_token_grid

FEW_TOKENS = 64
"""4 × 4 × 4; fewer cannot tell one lobe from another, and gradients of the input are measured to be better."""

BOXES = 12
"""Smoothing boxes along a side of the volume, for gradients of the input."""

_TINY = 1e-30


class Localisable(Protocol):
    """What is needed of a retriever, in evaluation mode."""

    @property
    def volume_encoder(self) -> nn.Module:
        """The volume encoder."""

    def pool_views(self, first: Features, second: Features) -> Tensor:
        """Fuse two views of B volumes into vectors (B, E)."""

    def eval_precision(self) -> torch.autocast:
        """Return the context of an evaluation."""


class Relevance(NamedTuple):
    """How relevant each part of a volume is to some queries.

    Attributes:
        values: (Q, d, h, w) float32, of Q queries; above 0 a part speaks for the query, below 0 against it. By `maps`
            what speaks for it is in shares of the highest, from 0 to 1.
        grid: where these parts lie on the model's grid.
        token: their size in voxels of that grid, along D, H, W.
        score: (Q,) the cosine of the volume with each query.
        how: `maps` of the encoder's stages, `tokens`, or `gradients` of the input.
    """

    values: np.ndarray
    grid: TokenGrid
    token: tuple[float, float, float]
    score: np.ndarray
    how: Literal["maps", "tokens", "gradients"]


def relevance(model: Localisable, volume: Tensor, queries: Tensor, features: Features | None = None) -> Relevance:
    """Return how much each part of a volume adds to its score for each query.

    Args:
        model: the retriever, in evaluation mode.
        volume: (1, 1, D, H, W) on the model's grid.
        queries: (Q, E), vectors of texts.
        features: of the volume, where they are known.

    Raises:
        UserError: the encoder states a token grid that its tokens do not have, or gives no gradients.
    """
    encoder = model.volume_encoder
    with torch.inference_mode(False), torch.enable_grad(), model.eval_precision():
        own = volume.detach().clone()
        wanted = normalize(queries.detach().clone().to(own.device).float(), dim=-1)
        depth, height, width = own.shape[-3:]
        found = _by_maps(model, own, wanted) if isinstance(encoder, HasFeatureMaps) else None
        if found is not None:
            return found
        grid = encoder.token_grid((depth, height, width)) if isinstance(encoder, HasTokenGrid) else None
        if grid is not None:
            if features is None:
                with torch.no_grad():
                    features = encoder(own)
            found = _by_tokens(model, features, wanted, grid)
            if found is not None and found.values[0].size >= FEW_TOKENS:
                return found
        found = _by_gradients(model, own, wanted) or found
    if found is None:
        raise UserError(
            f"{type(encoder).__name__} gives no gradients of its input, and its tokens are not what its vectors are"
            " made of: there is no map of it. An encoder whose fusion uses its tokens can say where they lie"
            " (bimcvr.contracts.HasTokenGrid)."
        )
    return found


def _by_maps(model: Localisable, volume: Tensor, queries: Tensor) -> Relevance | None:
    """Return the relevance of the positions of the finest map; None where the volume's vector does not come from it."""
    inner = cast(HasFeatureMaps, model.volume_encoder).feature_maps(volume)
    if inner is None:
        return None
    scores = _scores(model.pool_views(inner.features, inner.features), queries)
    finest = inner.grids[0]
    product = np.ones((len(queries), *finest.shape), dtype=np.float32)
    for activation, grid in zip(inner.maps, inner.grids, strict=True):
        slopes = _gradients(scores, activation)
        if slopes is None:
            return None
        values = _array((slopes * activation.detach().float()).sum(1))
        coarsest = np.stack([on_token_grid(one, grid, finest) for one in values])
        spread = np.clip(coarsest, 0, None)
        product *= spread / np.maximum(spread.max((1, 2, 3), keepdims=True), _TINY)
    highest = product.max((1, 2, 3), keepdims=True)
    # where nothing speaks for a query in all of them, the last one says what speaks least against it
    product = np.where(highest > 0, product / np.maximum(highest, _TINY), np.minimum(coarsest, 0))
    return Relevance(product, finest, finest.step, _array(scores), "maps")


def _by_tokens(model: Localisable, features: Features, queries: Tensor, grid: TokenGrid) -> Relevance | None:
    """Return the relevance of the tokens; None where the volume's vector does not come from them."""
    tokens = features.tokens.detach().clone()
    if tokens.shape[1] != math.prod(grid.shape):
        raise UserError(
            f"{type(model.volume_encoder).__name__}.token_grid says {' × '.join(map(str, grid.shape))} tokens, but"
            f" there are {tokens.shape[1]}. Correct it, or leave token_grid out: maps then come from input gradients."
        )
    tokens.requires_grad_()
    mean, cls = tokens.mean(1), features.cls.detach().clone()
    # a class feature that is the mean of the tokens stays so: the gate of channels sees nothing else
    joined = Features(mean if torch.allclose(mean.detach(), cls, rtol=1e-3, atol=1e-5) else cls, tokens)
    scores = _scores(model.pool_views(joined, joined), queries)
    slopes = _gradients(scores, tokens)
    if slopes is None:
        return None
    values = tokens.shape[1] * (slopes * tokens.detach()).sum(-1).reshape(-1, *grid.shape)
    return Relevance(_array(values), grid, grid.step, _array(scores), "tokens")


def _by_gradients(model: Localisable, volume: Tensor, queries: Tensor) -> Relevance | None:
    """Return the relevance of the voxels, smoothed; None where the encoder gives no gradients."""
    volume.requires_grad_()
    features = cast(Features, model.volume_encoder(volume))
    scores = _scores(model.pool_views(features, features), queries)
    slopes = _gradients(scores, volume)
    if slopes is None:
        return None
    size = cast(tuple[int, int, int], tuple(volume.shape[-3:]))
    # odd, so that a box has a voxel in its middle
    box = tuple(2 * (side // BOXES // 2) + 1 for side in size)
    raw = (slopes * volume.detach()).reshape(-1, 1, *size)
    smooth = avg_pool3d(raw, box, stride=1, padding=tuple(side // 2 for side in box), count_include_pad=False)
    values = math.prod(size) * smooth[:, 0]
    token = cast(tuple[float, float, float], tuple(map(float, box)))
    return Relevance(
        _array(values), TokenGrid(size, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)), token, _array(scores), "gradients"
    )


def _scores(image: Tensor, queries: Tensor) -> Tensor:
    """Return the cosines (Q,) of a volume's vector (1, E), whose length counts as a constant."""
    vector = image[0].float()
    scores: Tensor = queries @ (vector / vector.detach().norm().clamp_min(1e-12))
    return scores


def _gradients(scores: Tensor, of: Tensor) -> Tensor | None:
    """Return the gradients (Q, …) of scores (Q,) by a tensor (1, …); None where they do not depend on it."""
    if not scores.requires_grad:
        return None
    slopes = [torch.autograd.grad(score, of, retain_graph=True, allow_unused=True)[0] for score in scores]
    return None if any(slope is None for slope in slopes) else torch.cat([slope.float() for slope in slopes])


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().float().cpu().numpy())
