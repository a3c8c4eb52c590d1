"""Whitening of frozen text features, which amplifies the differences between reports over what all have in common."""

import torch
from torch import Tensor, nn

FLOOR = 0.01
"""Lower bound of the standard deviations divided by, as a share of the largest: smaller ones are noise."""

CENTRED = 0.65
"""Share of the mean that is subtracted.

If all of it is subtracted, a short query counts as denying whatever it does not mention, since reports mention most
organs; if none is, retrieval by whole reports loses a tenth. Chosen on `val` of phantoms.
"""


class Whitening(nn.Module):
    """Subtracts most of the mean of training features and gives all their principal axes the same spread.

    Frozen sentence encoders map all reports into a narrow cone: "right" and "left" differ by a hundredth of a vector's
    length, and a linear map trained on such features learns the side long after the finding. The statistics are
    computed once, from the training reports, and are part of the checkpoint.

    Args:
        dim: E, the length of a feature vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("axes", torch.eye(dim))
        self.register_buffer("fitted", torch.tensor(False))
        self.mean: Tensor
        self.axes: Tensor
        self.fitted: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Whiten features (B, E) → (B, E)."""
        return (features - self.mean) @ self.axes

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Compute the statistics of training features (N, E)."""
        exact = features.double().cpu()
        mean = exact.mean(0)
        _, spread, axes = torch.linalg.svd((exact - mean) / max(1, len(exact) - 1) ** 0.5, full_matrices=False)
        scaled = axes.T / (spread + FLOOR * spread[0].clamp(min=1e-12))
        self.mean.copy_(CENTRED * mean)
        self.axes.zero_()
        self.axes[:, : scaled.shape[1]] = scaled.to(self.axes)
        self.fitted.fill_(True)
