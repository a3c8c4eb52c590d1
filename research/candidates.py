"""Parts that were tried for *strong* and lost."""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimcvr.contracts import Features, ViewFusion
from bimcvr.models import Objective, ResNet3D


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


class LearnedQueries(ViewFusion):
    """Attention of learned queries over the first view's tokens, beside their mean.

    Args:
        dim: C, the encoder's feature size.
        queries: how many.
    """

    entropy: Tensor | None = None

    def __init__(self, dim: int, queries: int = 8) -> None:
        super().__init__()
        self.query = nn.Linear(dim, queries)
        self.join = nn.Linear(dim * queries, dim, bias=False)

    def forward(self, first: Features, second: Features) -> Tensor:
        """Pool tokens (B, N, C) into one (B, 1, C)."""
        tokens = first.tokens
        weight = self.query(F.layer_norm(tokens, tokens.shape[-1:])).softmax(1)  # (B, N, Q)
        asked = (weight.transpose(1, 2).to(tokens.dtype) @ tokens).flatten(1)
        return cast(Tensor, tokens.mean(1) + self.join(asked)).unsqueeze(1)


class StageMaxima(ResNet3D):
    """A ResNet whose feature is the mean of the last map beside the maxima of the two maps before it.

    Args:
        width: channels of the first stage.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__(depth=10, width=width, max_pool=False)
        self.dim = 8 * width + 4 * width + 2 * width

    def forward(self, volume: Tensor) -> Features:
        """Encode (B, 1, D, H, W) into cls (B, C), which is the only token too."""
        x, maxima = volume, []
        for stage in range(len(self.stages)):
            x = self._run(stage, x, checkpointing=False)
            if stage in (2, 3):
                maxima.append(x.flatten(2).float().amax(2))
        joined = torch.cat([x.flatten(2).float().mean(2), *maxima], 1)
        return Features(joined, joined.unsqueeze(1))


class SharedLabels(Objective):
    """The objective with soft targets: a share of each study's target goes to those with the same labels.

    Args:
        share: of the target that is divided among the batch by the Jaccard similarity of labels.
        options: of `Objective`.
    """

    def __init__(self, share: float = 0.2, **options: Any) -> None:
        super().__init__(**options)
        self.share = share

    def forward(
        self, z1: Tensor, z2: Tensor, image: Tensor, text: Tensor, target: Tensor | None = None, *rest: Any, **more: Any
    ) -> dict[str, Tensor]:
        """Compute the losses."""
        has_label = more.get("has_label")
        if has_label is not None:
            has = has_label.float()
            both, sizes = has @ has.T, has.sum(1)
            alike = both / (sizes[:, None] + sizes - both).clamp_min(1)
            alike.fill_diagonal_(0)
            alike = self.share * alike / alike.sum(1, keepdim=True).clamp_min(1e-6)
            target = alike + torch.diag(1 - alike.sum(1))
        return super().forward(z1, z2, image, text, target, *rest, **more)


class Sigmoid(Objective):
    """The objective with each pair of the batch decided by itself (SigLIP, Zhai et al. 2023), for L_sim.

    Args:
        options: of `Objective`, without `all_reports`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pair_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.pair_offset = nn.Parameter(torch.tensor(-10.0))

    def forward(
        self, z1: Tensor, z2: Tensor, image: Tensor, text: Tensor, *rest: Any, **more: Any
    ) -> dict[str, Tensor]:
        """Compute the losses."""
        losses = super().forward(z1, z2, image, text, *rest, **more)
        with torch.autocast(image.device.type, enabled=False):
            cosine = F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
            sign = 2 * torch.eye(len(cosine), device=cosine.device) - 1
            pairs = -F.logsigmoid(sign * (self.pair_scale.exp() * cosine + self.pair_offset)).sum(1).mean()
        return {**losses, "L_sim": pairs, "loss": losses["loss"] - losses["L_sim"] + pairs}
