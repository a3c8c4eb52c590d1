"""Ranks from a matrix of scores, for scores that are no cosine of two vectors."""

import torch
from torch import Tensor

from bimcvr.metrics.ranks import TIE, Ranks


def rank_scores(score: Tensor, query_group: Tensor, gallery_group: Tensor) -> Ranks:
    """Rank a gallery for some queries, with ties as everywhere: a difference of at most 1e-6, in random order.

    Args:
        score: (Q, N) finite, higher is better.
        query_group: (Q,) int64; an item of the same number is a right answer.
        gallery_group: (N,) int64.

    Raises:
        ValueError: a query has no right answer, or a score is not finite.

    Example:
        >>> rank_scores(torch.tensor([[2.0, 2.0, 3.0]]), torch.tensor([0]), torch.tensor([0, 1, 2])).expected
        tensor([2.5000], dtype=torch.float64)
    """
    right = query_group[:, None] == gallery_group[None]
    if not bool(right.any(1).all()) or not bool(score.isfinite().all()):
        raise ValueError("a query has no right answer in the gallery, or a score is not finite")
    score = score.double()
    best = score.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    gap = score - best
    tied = gap.abs() <= TIE
    return Ranks(((gap > TIE) & ~right).sum(1), (tied & ~right).sum(1), (tied & right).sum(1))
