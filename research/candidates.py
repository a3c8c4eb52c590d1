"""Parts that were tried for *strong* and lost."""

import torch
from torch import Tensor, nn

from bimcvr.contracts import Features, ViewFusion


class MeanAndMax(ViewFusion):
    """The mean over the first view's tokens, plus their maximum at a learned weight for each feature.

    Args:
        dim: C, the encoder's feature size.
    """

    entropy: Tensor | None = None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, first: Features, second: Features) -> Tensor:
        """Pool tokens (B, N, C) into one (B, 1, C)."""
        return (first.tokens.mean(1) + self.weight * first.tokens.amax(1)).unsqueeze(1)
