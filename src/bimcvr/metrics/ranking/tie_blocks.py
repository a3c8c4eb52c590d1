"""P@K, average precision and AUROC of a ranking with ties, in expectation over the order of tied items.

A ranking is a sequence of blocks, best first; the items of a block are tied and in random order. A block is described
by its size and by how many of its items are relevant. Both may be any non-negative real number, so the same functions
serve a plain ranking, a bootstrap resample (an item drawn twice is a block of two) and graded relevance.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bimcvr.metrics.ranking.ranks import TIE


@dataclass(frozen=True)
class Blocks:
    """Rankings as tied blocks, one ranking a row, best block first.

    Attributes:
        size: (B, M) float64, how many items each block holds; empty blocks have no effect.
        relevant: (B, M) float64, how many of them are relevant.
    """

    size: Tensor
    relevant: Tensor

    @property
    def before(self) -> Tensor:
        """(B, M) float64, how many items are in better blocks."""
        return self.size.cumsum(1) - self.size

    def with_rest(self, size: Tensor, relevant: Tensor) -> "Blocks":
        """Add a last block: what the rankings hold besides the blocks they are known by.

        Args:
            size: (B,) float64, how many items the whole ranking holds.
            relevant: (B,) float64, how many of these are relevant.
        """
        rest = (size - self.size.sum(1))[:, None], (relevant - self.relevant.sum(1))[:, None]
        return Blocks(torch.cat([self.size, rest[0]], dim=1), torch.cat([self.relevant, rest[1]], dim=1))

    def precision(self, k: int) -> Tensor:
        """(B,) float64, the expected share of relevant items among the first `k`, or among all if there are fewer."""
        taken = torch.minimum((k - self.before).clamp(min=0), self.size)
        total = self.size.sum(1).clamp(max=k)
        return (self._share * taken).sum(1) / total

    def average_precision(self, k: int | None = None) -> Tensor:
        """(B,) float64, the expectation of the mean of P@i over the positions i ≤ k of relevant items.

        The sum runs over the first `k` positions (all by default) and is divided by the number of relevant items, or
        by `k` if there are more. NaN where nothing is relevant.

        Within a block of n items, r of them relevant, after s items with c relevant ones, position u holds a relevant
        item with probability r/n; up to it there are then c + 1 + (u−1)(r−1)/(n−1) relevant ones. The sum over u of
        1/(s+u) is a difference of harmonic numbers.
        """
        before, relevant_before = self.before, self.relevant.cumsum(1) - self.relevant
        taken = self.size if k is None else torch.minimum((k - before).clamp(min=0), self.size)
        inverse = _harmonic(before + taken) - _harmonic(before)
        others = torch.where(self.size > 1, (self.relevant - 1) / (self.size - 1).clamp(min=1), 0.0)
        gained = self._share * ((relevant_before + 1) * inverse + others * (taken - (before + 1) * inverse))
        total = self.relevant.sum(1)
        return gained.sum(1) / (total if k is None else total.clamp(max=k))

    def auroc(self) -> Tensor:
        """(B,) float64, the probability that a relevant item ranks above another one, a tie counting half.

        NaN where all items are relevant, or none.
        """
        other = self.size - self.relevant
        worse = other.sum(1, keepdim=True) - other.cumsum(1)
        return (self.relevant * (worse + other / 2)).sum(1) / (self.relevant.sum(1) * other.sum(1))

    @property
    def _share(self) -> Tensor:
        return torch.where(self.size > 0, self.relevant / self.size.clamp(min=1e-300), 0.0)


def ordered_blocks(score: Tensor, relevant: Tensor, present: Tensor | None = None) -> Blocks:
    """Rank items by their scores.

    Two neighbours in the ranking are tied if their scores differ by no more than 1e-6.

    Args:
        score: (B, N) float64.
        relevant: (B, N), how relevant each item is, 0 to 1.
        present: (B, N) bool, which items are ranked; all by default.

    Example:
        >>> score = torch.tensor([[0.9, 0.5, 0.5, 0.1]], dtype=torch.float64)
        >>> ordered_blocks(score, torch.tensor([[0, 1, 0, 1]])).precision(2)
        tensor([0.2500], dtype=torch.float64)
    """
    score, order = score.sort(dim=1, descending=True)
    weight = torch.ones_like(score) if present is None else present.double().gather(1, order)
    number = block_numbers(score)
    size = torch.zeros_like(score).scatter_add_(1, number, weight)
    share = torch.zeros_like(score).scatter_add_(1, number, weight * relevant.double().gather(1, order))
    return Blocks(size, share)


def block_numbers(score: Tensor) -> Tensor:
    """Number the tied blocks of scores (B, N) that descend along each row: int64 (B, N), from 0."""
    new = (score[:, :-1] - score[:, 1:] > TIE).long()
    return torch.nn.functional.pad(new, (1, 0)).cumsum(1)


def resampled_blocks(score: Tensor, relevant: Tensor, times: Tensor) -> Blocks:
    """Rank the items of R bootstrap resamples by one score.

    Args:
        score: (N,) float64.
        relevant: (N,) bool.
        times: (R, N), how often each item occurs in each resample.
    """
    score, order = score.sort(descending=True)
    number = block_numbers(score[None])[0]
    weight = times[:, order].double()
    shape = (len(times), int(number[-1]) + 1)
    if shape[1] < len(number):
        size = weight.new_zeros(shape).index_add_(1, number, weight)
        return Blocks(size, weight.new_zeros(shape).index_add_(1, number, weight * relevant[order]))
    return Blocks(weight, weight * relevant[order])


def random_order(size: Tensor, relevant: Tensor) -> Blocks:
    """Return rankings (B,) in which everything is tied: their metrics are the chance level."""
    return Blocks(size.double()[:, None], relevant.double()[:, None])


def _harmonic(n: Tensor) -> Tensor:
    """Return 1 + 1/2 + … + 1/n, extended to all real n ≥ 0."""
    return torch.digamma(n + 1) + 0.57721566490153286
