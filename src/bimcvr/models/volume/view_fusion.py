"""Fusion of two views of one volume (paper, equations 5 and 6)."""

import math

import torch
from torch import Tensor, nn

from bimcvr.contracts import Features, ViewFusion


class ChannelGate(ViewFusion):
    """Equations 5 and 6 as printed, on vectors: a softmax over channels gates the first view.

    With z₁ᵀz₂ read element-wise, attention = softmax(z₁ ⊙ z₂ / (√D ‖z₁‖ ‖z₂‖)) and fused = z₁ ⊙ attention. The
    logits are at most 1/√D, so the gate is uniform to about 1e-3 and the fused vector is z₁ up to scale; `entropy`,
    1 for a uniform gate, shows it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entropy: Tensor | None = None

    def forward(self, first: Features, second: Features) -> Tensor:
        """Fuse two CLS features (B, C) into one token (B, 1, C)."""
        with torch.autocast(first.cls.device.type, enabled=False):
            z1, z2 = (z if z.dtype == torch.float64 else z.float() for z in (first.cls, second.cls))
        norms = z1.norm(dim=-1, keepdim=True) * z2.norm(dim=-1, keepdim=True)
        logits = z1 * z2 / (math.sqrt(z1.shape[-1]) * norms.clamp_min(1e-12))
        gate: Tensor = logits.softmax(-1)
        self.entropy = _relative_entropy(gate.detach())
        return (z1 * gate).unsqueeze(1)


class TokenAttention(ViewFusion):
    """Cross-attention between token maps: queries from the first view, keys and values from the second.

    fused = Q + softmax(q(Q) k(K)ᵀ / √d) v(V), the reading of equations 5 and 6 that links the two views.

    Args:
        dim: C, the encoder's feature size.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.entropy: Tensor | None = None

    def forward(self, first: Features, second: Features) -> Tensor:
        """Fuse two token maps (B, N, C) into one (B, N, C)."""
        q, k, v = self.query(first.tokens), self.key(second.tokens), self.value(second.tokens)
        logits = (q @ k.transpose(1, 2)).float() / math.sqrt(q.shape[-1])
        attention = logits.softmax(-1)
        self.entropy = _relative_entropy(attention.detach())
        attended: Tensor = attention.to(v.dtype) @ v
        return first.tokens + attended


class FirstView(ViewFusion):
    """No fusion: the tokens of the first view."""

    entropy: Tensor | None = None

    def forward(self, first: Features, second: Features) -> Tensor:
        """Return the first view's tokens (B, N, C)."""
        return first.tokens


def _relative_entropy(weights: Tensor) -> Tensor:
    """Return the mean entropy over the last dimension, divided by its largest value (1 for a single weight)."""
    count = weights.shape[-1]
    if count == 1:
        return torch.ones((), device=weights.device)
    return -(weights * weights.clamp_min(1e-30).log()).sum(-1).mean() / math.log(count)
