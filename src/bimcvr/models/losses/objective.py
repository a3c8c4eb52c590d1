"""The training losses (paper, equations 4, 7 and 8)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimcvr.contracts import RetrievalLoss
from bimcvr.errors import UserError
from bimcvr.models.losses.gather import gather, rank
from bimcvr.models.losses.label_losses import keyword_similarity, presence_loss

_LOWEST = 0.01  # of a learned temperature


def view_consistency(z1: Tensor, z2: Tensor, normalise: bool = False) -> Tensor:
    """Equation 4: ½‖z₁ − z₂‖², summed over the feature and averaged over the batch.

    Args:
        z1: (B, C) features of the first view.
        z2: (B, C) features of the second view.
        normalise: scale both to length 1 first, so that shrinking them does not lower the loss.

    Returns:
        A scalar.

    >>> view_consistency(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])).item()
    12.5
    """
    if normalise:
        z1, z2 = F.normalize(z1, dim=-1), F.normalize(z2, dim=-1)
    return 0.5 * (z1 - z2).square().sum(-1).mean()


def similarity(
    rows: Tensor,
    columns: Tensor,
    scale: Tensor | float,
    target: Tensor | None = None,
    same_report: Tensor | None = None,
    others: Tensor | None = None,
    not_negative: Tensor | None = None,
) -> Tensor:
    """Equation 7: cross-entropy of each row's own column under a softmax over all columns of scaled cosines.

    With several processes `rows` are the local ones and `columns` those of all processes, in rank order.

    Args:
        rows: (B, E); for image → text, the image features.
        columns: (M, E), M = world · B.
        scale: 1 / temperature; 1 in the paper.
        target: (B, B) soft targets over the local columns, rows summing to 1; the diagonal by default.
        same_report: (B, M) bool, columns with the row's own report, which are left out of its negatives; by default
            all other columns are negatives.
        others: (N, E) further negatives, which are no column of this batch.
        not_negative: (B, N) bool, those that are left out for a row; under soft targets also for the rows that have it
            as a target.

    Returns:
        The mean over the rows, a scalar.
    """
    logits = scale * F.normalize(rows, dim=-1) @ F.normalize(columns, dim=-1).T
    start = rank() * len(rows) if len(columns) > len(rows) else 0
    if same_report is not None:
        left_out = same_report.clone()
        positive = torch.eye(len(rows), dtype=torch.bool, device=rows.device) if target is None else target > 0
        left_out[:, start : start + len(rows)] &= ~positive
        logits = logits.masked_fill(left_out, -1e9)  # not -inf, which gives NaN with a target of 0
    if others is not None and not_negative is not None:
        if target is not None:
            not_negative = not_negative | ((target > 0).to(rows.dtype) @ not_negative.to(rows.dtype) > 0)
        further = scale * F.normalize(rows, dim=-1) @ F.normalize(others, dim=-1).T
        logits = torch.cat([logits, further.masked_fill(not_negative, -1e9)], dim=-1)
    log_share = logits.log_softmax(dim=-1)[:, start : start + len(rows)]
    if target is None:
        return -log_share.diagonal().mean()
    return -(target * log_share).sum(-1).mean()


def soft_target(partner: Tensor, kept: Tensor) -> Tensor:
    """Targets under cutmix: a study's own report has the share of voxels that it kept, the partner's the rest.

    Args:
        partner: (B,) int64, the position in the batch whose box was pasted in.
        kept: (B,) float, the share of its own voxels that a study kept.

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


class Objective(RetrievalLoss):
    """The paper's training loss, equation 8: L_total = w · L_mse + α · L_sim + β · L_dis + γ · L_key + δ · L_presence.

    Args:
        consistency: w; 0 leaves L_mse out (Table 4).
        normalise_views: compute L_mse on features of length 1.
        alpha: α.
        symmetric: add the text → image direction to equation 7 and take the mean of both.
        temperature: divides the cosines; 1 as printed.
        learn_temperature: let training change it, between 0.01 and 1.
        discrimination: β, weight of instance discrimination between the two views' CLS features; the paper names L_dis
            but leaves it out of equation 8.
        keywords: γ, weight of each training label's prompt against the volumes that have it; not in the paper. Not with
            cutmix, which mixes volumes of different labels.
        presence: δ, weight of the question whether a volume has a training label, asked by its prompt; not in the
            paper, and not with cutmix. A mean of many small terms: it takes weights of 10 or more to matter.
        double_reports: count another row with a study's own report as its negative, as printed.
        all_reports: image → text, count the whole reports of all training rows outside the batch as negatives too, but
            for the study's own; needs a text encoder that is not trained, and `double_reports: false`.
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
        presence: float = 0.0,
        double_reports: bool = True,
        all_reports: bool = False,
        gather_negatives: bool = True,
    ) -> None:
        super().__init__()
        lowest, highest = (_LOWEST, 1.0) if learn_temperature else (0.0, math.inf)
        if not lowest <= temperature <= highest or temperature in (0.0, math.inf):
            raise UserError(
                f"model.objective.temperature is {temperature}: it must be above 0, and between {_LOWEST} and 1 where"
                " learn_temperature is true. The paper's is 1."
            )
        for name, weight in (
            ("consistency", consistency),
            ("alpha", alpha),
            ("discrimination", discrimination),
            ("keywords", keywords),
            ("presence", presence),
        ):
            if not 0 <= weight < math.inf:
                raise UserError(f"model.objective.{name} is {weight}: a weight is 0 or more.")
        self.consistency, self.normalise_views, self.alpha = consistency, normalise_views, alpha
        self.symmetric, self.discrimination, self.gather_negatives = symmetric, discrimination, gather_negatives
        if all_reports and double_reports:
            raise UserError(
                "model.objective.all_reports would count a study's own report as its negative wherever another row has"
                " it: set model.objective.double_reports to false."
            )
        self.keywords, self.presence = keywords, presence
        self.double_reports, self.all_reports = double_reports, all_reports
        if presence:
            self.presence_log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
            self.presence_offset = nn.Parameter(torch.tensor(-2.0))  # most labels are rare
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learn_temperature)

    @property
    def scale(self) -> Tensor:
        """The factor on the cosines, 1 / temperature."""
        return self.log_scale.exp()

    def after_step(self) -> None:
        """Keep a learned temperature between 0.01 and 1."""
        if self.log_scale.requires_grad:
            self.log_scale.data.clamp_(0, -math.log(_LOWEST))

    def logged(self) -> dict[str, Tensor]:
        """Return the temperature."""
        return {"temperature": 1 / self.scale.detach()}

    def candidates(self, local: Tensor) -> Tensor:
        """Gather (B, …) from all processes, or return it unchanged where negatives are not gathered."""
        return gather(local) if self.gather_negatives else local

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        image: Tensor,
        text: Tensor,
        target: Tensor | None = None,
        same_report: Tensor | None = None,
        prompts: Tensor | None = None,
        has_label: Tensor | None = None,
        reports: Tensor | None = None,
        not_negative: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            z1: (B, C) CLS features of view 1.
            z2: (B, C) CLS features of view 2.
            image: (B, E) pooled, projected image features.
            text: (B, E) text features.
            target: (B, B) soft targets from cutmix.
            same_report: (B, M) bool, which of the M candidates share a row's report; where `double_reports` is false.
            prompts: (L, E), one vector a training label; where `keywords` or `presence` has weight.
            has_label: (M, L) bool, the labels of the M candidates.
            reports: (N, E), one vector a training row; where `all_reports` is true.
            not_negative: (B, N) bool, which of them are no negatives of a row.

        Returns:
            `L_mse`, `L_sim`, `L_dis`, `L_key` and `L_presence`, as far as they have weight, and `loss`, their weighted
            sum.
        """
        # at a low temperature half precision, of the features or by autocast of the logits, spoils loss and gradient
        with torch.autocast(image.device.type, enabled=False):
            z1, z2, image, text, prompts, reports = (
                _full_precision(features) for features in (z1, z2, image, text, prompts, reports)
            )
            images = self.candidates(image) if self.symmetric or prompts is not None else image
            texts = self.candidates(text)
            losses = {"L_sim": similarity(image, texts, self.scale, target, same_report, reports, not_negative)}
            if self.symmetric:
                transposed = None if target is None else target.T / target.T.sum(-1, keepdim=True).clamp_min(1e-12)
                losses["L_sim"] = (losses["L_sim"] + similarity(text, images, self.scale, transposed, same_report)) / 2
            total = self.alpha * losses["L_sim"]
            if self.consistency:
                losses["L_mse"] = view_consistency(z1, z2, self.normalise_views)
                total = total + self.consistency * losses["L_mse"]
            if self.discrimination:
                losses["L_dis"] = similarity(z1, self.candidates(z2), self.scale)
                total = total + self.discrimination * losses["L_dis"]
            if self.keywords and prompts is not None and has_label is not None:
                losses["L_key"] = keyword_similarity(prompts, images, has_label, self.scale)
                total = total + self.keywords * losses["L_key"]
            if self.presence and prompts is not None and has_label is not None:
                scale, offset = self.presence_log_scale.exp(), self.presence_offset
                losses["L_presence"] = presence_loss(prompts, images, has_label, scale, offset)
                total = total + self.presence * losses["L_presence"]
        return {**losses, "loss": total}
