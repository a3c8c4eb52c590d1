"""Ranks with ties in expectation, and the rule of which answers are right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.errors import UserError

TIE = 1e-6
"""Two cosines that differ by no more than this in float64 are tied."""

DIRECTION_TITLES = {"text_to_image": "text → image", "image_to_text": "image → text"}
DIRECTIONS = tuple(DIRECTION_TITLES)
RULES = {
    "report": (
        "one right answer for all rows of a report: same report_id, or same normalised text of at least five words"
        " without a flag against it; ties in expectation over a random order"
    ),
    "diagonal": "the query's own row alone is right, whatever the reports say; ties in expectation over a random order",
}


@dataclass(frozen=True)
class Ranks:
    """The counts that decide each query's rank, on the CPU.

    Ranks count from 1. Items tied with the best right answer are in random order; `expected` and `hit_probability`
    are expectations over that order.

    Attributes:
        above: (Q,) int64, wrong items that score higher than the best right one.
        tied_wrong: (Q,) int64, wrong items tied with the best right one.
        tied_right: (Q,) int64, right items tied with the best right one, itself included: at least 1.

    Example:
        >>> one = Ranks(above=torch.tensor([2]), tied_wrong=torch.tensor([3]), tied_right=torch.tensor([1]))
        >>> one.optimistic.item(), one.expected.item(), one.pessimistic.item()
        (3.0, 4.5, 6.0)
        >>> one.hit_probability(3).item(), one.hit_probability(6).item()
        (0.25, 1.0)
        >>> round(one.reciprocal.item(), 6) == round((1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 4, 6)
        True
    """

    above: Tensor
    tied_wrong: Tensor
    tied_right: Tensor

    @property
    def expected(self) -> Tensor:
        """(Q,) float64, the mean rank of the first right answer: a + (t + p + 1) / (p + 1)."""
        tied = self.tied_wrong + self.tied_right
        return self.above + (tied + 1).double() / (self.tied_right + 1).double()

    @property
    def optimistic(self) -> Tensor:
        """(Q,) float64, the rank when every tie goes to the right answer: a + 1."""
        return (self.above + 1).double()

    @property
    def pessimistic(self) -> Tensor:
        """(Q,) float64, the rank when every tie goes to the wrong answers: a + t + 1."""
        return (self.above + self.tied_wrong + 1).double()

    @property
    def reciprocal(self) -> Tensor:
        """(Q,) float64, the mean of 1 / rank of the first right answer over all orders of the ties."""
        value = 1 / (self.above + 1).double()
        tied = self.tied_wrong > 0
        cases = torch.stack([self.above, self.tied_wrong, self.tied_right], dim=1)[tied]
        distinct, index = torch.unique(cases, dim=0, return_inverse=True)
        means = [_mean_reciprocal(*case) for case in distinct.tolist()]
        value[tied] = torch.tensor(means, dtype=torch.float64)[index]
        return value

    def hit_probability(self, k: int) -> Tensor:
        """(Q,) float64, the probability of a right answer among the first `k`.

        1 − C(t, k−a) / C(t+p, k−a), computed as one minus the product of (t−i) / (t+p−i) over the k−a positions
        left to the tied items: the product is 1 (no hit) if there is no such position and 0 (a sure hit) if k−a > t.
        """
        positions = k - self.above
        miss = torch.ones(len(self.above), dtype=torch.float64)
        # once the tied wrong items are used up a miss is 0 for good
        steps = torch.minimum(positions, self.tied_wrong + 1)
        for i in range(int(steps.max().clamp(0, k)) if len(steps) else 0):
            wrong = (self.tied_wrong - i).clamp(min=0).double()
            step = wrong / (wrong + self.tied_right)
            miss = torch.where(positions > i, miss * step, miss)
        return 1 - miss


def right_answers(gallery: Gallery, rule: str) -> Tensor:
    """Return the group (N,) int64 of each row: rows with the same number are right answers of each other.

    Args:
        gallery: The N rows.
        rule: A key of `RULES`.

    Raises:
        UserError: There is no such rule.
    """
    if rule not in RULES:
        raise UserError(f"There is no rule of right answers '{rule}': choose {' or '.join(RULES)}.")
    return torch.arange(len(gallery.group)) if rule == "diagonal" else torch.as_tensor(gallery.group)


def rank_scores(score: Tensor, query_group: Tensor, gallery_group: Tensor) -> Ranks:
    """Rank a gallery for a set of queries from a matrix of scores; scores within 1e-6 are tied, as everywhere.

    Args:
        score: (Q, N) finite, higher is better.
        query_group: (Q,) int64; an item of the same number is a right answer.
        gallery_group: (N,) int64; or (Q, N), where each query has a gallery of its own.

    Raises:
        ValueError: A query has no right answer, or a score is not finite.

    Example:
        >>> rank_scores(torch.tensor([[2.0, 2.0, 3.0]]), torch.tensor([0]), torch.tensor([0, 1, 2])).expected
        tensor([2.5000], dtype=torch.float64)
    """
    right = query_group[:, None] == gallery_group
    if not bool(right.any(1).all()) or not bool(score.isfinite().all()):
        raise ValueError("a query has no right answer in the gallery, or a score is not finite")
    score = score.double()
    best = score.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    gap = score - best
    tied = gap.abs() <= TIE
    return Ranks(((gap > TIE) & ~right).sum(1), (tied & ~right).sum(1), (tied & right).sum(1))


def chance_ranks(group: Tensor) -> Ranks:
    """Return the ranks of a model that scores every item alike: its metrics are the chance level.

    Args:
        group: (N,) int64; rows with the same number are right answers of each other.

    Example:
        >>> chance_ranks(torch.tensor([0, 1, 2, 2])).hit_probability(1)
        tensor([0.2500, 0.2500, 0.5000, 0.5000], dtype=torch.float64)
    """
    _, index, size = torch.unique(group.cpu(), return_inverse=True, return_counts=True)
    right = size[index]
    return Ranks(above=torch.zeros_like(right), tied_wrong=len(group) - right, tied_right=right)


def _mean_reciprocal(above: int, wrong: int, right: int) -> float:
    """Return the mean of 1 / (above + J), J the first right position among `wrong` + `right` tied items."""
    i = torch.arange(wrong, dtype=torch.float64)
    later = torch.cat(
        [torch.ones(1, dtype=torch.float64), ((wrong - i) / (wrong + right - i)).cumprod(0)]
    )  # P(J > 0), P(J > 1), …
    exactly = later - torch.cat([later[1:], later.new_zeros(1)])
    return float((exactly / (above + torch.arange(1, wrong + 2, dtype=torch.float64))).sum())
