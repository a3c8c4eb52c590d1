"""P@K and nDCG@K of a ranking by people's judgements; ties count in expectation."""

from collections.abc import Sequence

import torch
from torch import Tensor


def judged_metrics(score: Tensor, relevant: Tensor, ks: Sequence[int]) -> dict[str, float]:
    """Score the ranking of the judged items of one query; items without a judgement are left out of the ranking.

    Condensed lists (Sakai, SIGIR 2007): an item that nobody has judged counts neither way. Items of equal score share
    their gains (McSherry and Najork, ECIR 2008), which is the mean over all orders of them.

    Args:
        score: (n,) floating point, of the judged items.
        relevant: (n,) bool.
        ks: the K; one above n is left out.

    Returns:
        P@K in percent; nDCG@K between 0 and 1, where an item is relevant.

    Example:
        >>> judged_metrics(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([True, False, True]), [2])
        {'P@2': 50.0, 'nDCG@2': 0.6131471994876518}
    """
    order = torch.argsort(score.double(), descending=True, stable=True)
    ranked, gains = score.double()[order], relevant.double()[order]
    _, block, sizes = torch.unique_consecutive(ranked, return_inverse=True, return_counts=True)
    shared = (torch.zeros(len(sizes), dtype=torch.float64).index_add_(0, block, gains) / sizes)[block]
    discount = 1 / torch.log2(torch.arange(2, len(gains) + 2, dtype=torch.float64))
    best = torch.sort(gains, descending=True).values
    figures = {}
    for k in ks:
        if k > len(gains):
            continue
        figures[f"P@{k}"] = 100 * shared[:k].mean().item()
        if bool(relevant.any()):
            figures[f"nDCG@{k}"] = ((shared[:k] * discount[:k]).sum() / (best[:k] * discount[:k]).sum()).item()
    return figures
