"""Losses by the labels of training rows: prompts as queries, and prompts as classifiers."""

import torch.nn.functional as F
from torch import Tensor


def keyword_similarity(prompts: Tensor, volumes: Tensor, has_label: Tensor, scale: Tensor | float) -> Tensor:
    """Cross-entropy of a label's prompt over the volumes of a batch; every volume with the label is a positive.

    Its form is that of equation 7 with several positives (Khosla et al., Supervised Contrastive Learning, 2020, eq. 2).

    Args:
        prompts: (L, E), one vector a label.
        volumes: (M, E) image features.
        has_label: (M, L) bool. A label that no volume has, or that all have, is left out.
        scale: 1 / temperature.

    Returns:
        The mean over the labels that are not left out; 0 where none remains.
    """
    logits = scale * F.normalize(prompts, dim=-1) @ F.normalize(volumes, dim=-1).T
    positive = has_label.T.to(logits.dtype)
    count = positive.sum(-1)
    usable = (count > 0) & (count < len(volumes))
    losses = -(positive * logits.log_softmax(-1)).sum(-1) / count.clamp_min(1)
    return (losses * usable).sum() / usable.sum().clamp_min(1)


def presence_loss(prompts: Tensor, volumes: Tensor, has_label: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Binary cross-entropy of each volume's cosine with each label's prompt: has the volume the label or not?

    The form is that of the sigmoid loss (Zhai et al. 2023, arXiv 2303.15343) with labels in the place of pairs.

    Args:
        prompts: (L, E), one vector a label.
        volumes: (M, E) image features.
        has_label: (M, L) bool.
        scale: a scalar, the factor on the cosines.
        offset: a scalar, added to them.

    Returns:
        The mean over volumes and labels.
    """
    logits = scale * F.normalize(volumes, dim=-1) @ F.normalize(prompts, dim=-1).T + offset
    return F.binary_cross_entropy_with_logits(logits, has_label.to(logits.dtype))
