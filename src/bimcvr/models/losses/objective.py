"""The training losses (paper, equations 4, 7 and 8)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimcvr.models.losses.gather import gather, rank


def view_consistency(z1: Tensor, z2: Tensor, normalise: bool = False) -> Tensor:
    """Equation 4: ½‖z₁ − z₂‖², summed over the feature and averaged over the batch.

    Args:
        z1: (B, C) features of the first view.
        z2: (B, C) of the second.
        normalise: scale both to length 1 first, so that shrinking them does not lower the loss.

    >>> view_consistency(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])).item()
    12.5
    """
    if normalise:
        z1, z2 = F.normalize(z1, dim=-1), F.normalize(z2, dim=-1)
    return 0.5 * (z1 - z2).square().sum(-1).mean()


def similarity(
    rows: Tensor, columns: Tensor, scale: Tensor | float, target: Tensor | None = None, same: Tensor | None = None
) -> Tensor:
    """Equation 7: cross-entropy of each row's right column under a softmax over all columns of scaled cosines.

    With several processes `rows` are the local ones and `columns` those of all processes, in rank order.

    Args:
        rows: (B, E); for image → text, the image features.
        columns: (M, E), M = world · B.
        scale: 1 / temperature; 1 in the paper.
        target: (B, B) soft targets over the local columns, rows summing to 1; the diagonal by default.
        same: (B, M) bool, columns that bear the row's own report: no negatives of it. All others are, by default.
    """
    logits = scale * F.normalize(rows, dim=-1) @ F.normalize(columns, dim=-1).T
    start = rank() * len(rows) if len(columns) > len(rows) else 0
    if same is not None:
        left_out = same.clone()
        right = torch.eye(len(rows), dtype=torch.bool, device=rows.device) if target is None else target > 0
        left_out[:, start : start + len(rows)] &= ~right
        logits = logits.masked_fill(left_out, -1e9)  # not -inf: with a target of 0 it would give NaN
    log_share = logits.log_softmax(dim=-1)[:, start : start + len(rows)]
    if target is None:
        return -log_share.diagonal().mean()
    return -(target * log_share).sum(-1).mean()


def keyword_similarity(prompts: Tensor, volumes: Tensor, bears: Tensor, scale: Tensor | float) -> Tensor:
    """Cross-entropy of a label's prompt over the volumes of a batch; all that bear the label are right alike.

    Its form is that of equation 7 with several right answers (Khosla et al., Supervised Contrastive Learning, 2020, eq.
    2).

    Args:
        prompts: (L, E), one vector a label.
        volumes: (M, E) image features.
        bears: (M, L) bool. A label that none of them bears, or all, asks nothing.
        scale: 1 / temperature.

    Returns:
        The mean over the labels that are asked; 0 where none is.
    """
    logits = scale * F.normalize(prompts, dim=-1) @ F.normalize(volumes, dim=-1).T
    right = bears.T.to(logits.dtype)
    number = right.sum(-1)
    asked = (number > 0) & (number < len(volumes))
    losses = -(right * logits.log_softmax(-1)).sum(-1) / number.clamp_min(1)
    return (losses * asked).sum() / asked.sum().clamp_min(1)


def soft_target(partner: Tensor, kept: Tensor) -> Tensor:
    """Cutmix's target: a study's own report with the share of voxels it kept, the partner's with the rest.

    Args:
        partner: (B,) int64.
        kept: (B,) shares.

    Returns:
        (B, B); rows sum to 1.

    >>> soft_target(torch.tensor([1, 1]), torch.tensor([0.75, 1.0])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    target = torch.diag(kept)
    target[torch.arange(len(partner), device=partner.device), partner] += 1 - kept
    return target


def _full_precision(features: Tensor | None) -> Any:
    """Lift half precision to float32; float64 stays."""
    return features.float() if features is not None and features.dtype in (torch.float16, torch.bfloat16) else features


class Objective(nn.Module):
    """Equation 8: L_total = w · L_mse + α · L_sim + β · L_dis + γ · L_key.

    Args:
        consistency: w; 0 leaves L_mse out (Table 4).
        normalise_views: compute L_mse on features of length 1.
        alpha: α.
        symmetric: add the text → image direction to equation 7 and take the mean of both.
        temperature: divides the cosines; 1 as printed.
        learn_temperature: let training change it, between 0.01 and 1.
        discrimination: β, weight of instance discrimination between the two views' CLS features; the paper names L_dis
            but leaves it out of equation 8.
        keywords: γ, weight of each training label's prompt against the volumes that bear it; not in the paper. Not with
            cutmix, which mixes volumes of different labels.
        double_reports: count another row that bears a study's own report as its negative, as printed.
        gather_negatives: take negatives from all processes. False imitates the authors' release, where a result
            depends on the number of GPUs.
    """

    def __init__(
        self,
        consistency: float = 1.0,
        normalise_views: bool = False,
        alpha: float = 1.0,
        symmetric: bool = False,
        temperature: float = 1.0,
        learn_temperature: bool = False,
        discrimination: float = 0.0,
        keywords: float = 0.0,
        double_reports: bool = True,
        gather_negatives: bool = True,
    ) -> None:
        super().__init__()
        self.consistency, self.normalise_views, self.alpha = consistency, normalise_views, alpha
        self.symmetric, self.discrimination, self.gather_negatives = symmetric, discrimination, gather_negatives
        self.keywords, self.double_reports = keywords, double_reports
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learn_temperature)

    @property
    def scale(self) -> Tensor:
        """The factor on the cosines, 1 / temperature."""
        return self.log_scale.exp()

    def clamp_temperature(self) -> None:
        """Keep a learned temperature between 0.01 and 1; to be called after each optimiser step."""
        if self.log_scale.requires_grad:
            self.log_scale.data.clamp_(0, math.log(100))

    def everyone(self, local: Tensor) -> Tensor:
        """Gather (B, …) from all processes as far as negatives are taken from them."""
        return gather(local) if self.gather_negatives else local

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        image: Tensor,
        text: Tensor,
        target: Tensor | None = None,
        same: Tensor | None = None,
        prompts: Tensor | None = None,
        bears: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            z1: (B, C) CLS features of view 1.
            z2: (B, C) of view 2.
            image: (B, E) pooled, projected image features.
            text: (B, E) text features.
            target: (B, B) soft targets from cutmix.
            same: (B, M) bool, rows of all M that bear a row's own report, with `double_reports` false.
            prompts: (L, E) a vector a label, with `keywords`.
            bears: (M, L) bool, the labels of all M rows.

        Returns:
            `L_mse`, `L_sim`, `L_dis`, `L_key` as far as they have weight, and `loss`, their weighted sum.
        """
        # at a low temperature neither loss nor gradient survives half precision, be it of the features or, by autocast,
        # of the logits
        with torch.autocast(image.device.type, enabled=False):
            z1, z2, image, text, prompts = (_full_precision(features) for features in (z1, z2, image, text, prompts))
            return self._losses(z1, z2, image, text, target, same, prompts, bears)

    def _losses(
        self,
        z1: Tensor,
        z2: Tensor,
        image: Tensor,
        text: Tensor,
        target: Tensor | None,
        same: Tensor | None,
        prompts: Tensor | None,
        bears: Tensor | None,
    ) -> dict[str, Tensor]:
        images = self.everyone(image) if self.symmetric or prompts is not None else image
        losses = {"L_sim": similarity(image, self.everyone(text), self.scale, target, same)}
        if self.symmetric:
            turned = None if target is None else target.T / target.T.sum(-1, keepdim=True).clamp_min(1e-12)
            losses["L_sim"] = (losses["L_sim"] + similarity(text, images, self.scale, turned, same)) / 2
        total = self.alpha * losses["L_sim"]
        if self.consistency:
            losses["L_mse"] = view_consistency(z1, z2, self.normalise_views)
            total = total + self.consistency * losses["L_mse"]
        if self.discrimination:
            losses["L_dis"] = similarity(z1, self.everyone(z2), self.scale)
            total = total + self.discrimination * losses["L_dis"]
        if prompts is not None and bears is not None:
            losses["L_key"] = keyword_similarity(prompts, images, bears, self.scale)
            total = total + self.keywords * losses["L_key"]
        return {**losses, "loss": total}
