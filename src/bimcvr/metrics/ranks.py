"""The rank engine: where the right answer stands among all scores, ties in expectation.

Pure functions on tensors. The N×N matrix of scores is never held: tiles of it are computed once and counted
in both directions. Scores are cosines. Float32 only decides what lies clearly apart; whatever lies within its
rounding error of the best right score is decided again in float64, so that tile size, row order, device and
process count never decide a rank.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bimcvr.metrics.vectors import CHUNK, UnitVectors

TIE = 1e-6
"""Two cosines no further apart than this in float64 are tied."""

NEAR = 1e-5
"""Least distance to the best right score at which a float32 score is believed."""

DENSE = 1 / 64
"""Share of near pairs in a tile above which the whole tile is cheaper in float64 than its pairs."""


@dataclass(frozen=True)
class Ranks:
    """What decides a query's rank, one entry a query, on the CPU.

    Ranks count from 1. Items tied with the best right answer stand in random order, and `expected` and
    `hit_probability` are expectations over that order.

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

    def hit_probability(self, k: int) -> Tensor:
        """(Q,) float64, the probability of a right answer among the first `k`.

        1 − C(t, k−a) / C(t+p, k−a), as the product of (t−i) / (t+p−i) over the k−a places that are open to
        the tied items: it is 1 (no hit) when there is no such place and 0 (a sure hit) when k−a > t.
        """
        places = k - self.above
        miss = torch.ones(len(self.above), dtype=torch.float64)
        for i in range(int(places.max().clamp(0, k)) if len(places) else 0):
            wrong = (self.tied_wrong - i).clamp(min=0).double()
            step = wrong / (wrong + self.tied_right)
            miss = torch.where(places > i, miss * step, miss)
        return 1 - miss


def chance_ranks(group: Tensor) -> Ranks:
    """Return the ranks of a model that scores every item alike: its figures are the chance level.

    Args:
        group: (N,) int64; rows with the same number are right answers of each other.

    Example:
        >>> chance_ranks(torch.tensor([0, 1, 2, 2])).hit_probability(1)
        tensor([0.2500, 0.2500, 0.5000, 0.5000], dtype=torch.float64)
    """
    _, of, size = torch.unique(group.cpu(), return_inverse=True, return_counts=True)
    right = size[of]
    return Ranks(above=torch.zeros_like(right), tied_wrong=len(group) - right, tied_right=right)


def rank_both(image: Tensor, text: Tensor, group: Tensor, tile: int = 1024) -> tuple[Ranks, Ranks]:
    """Rank every image for every text and every text for every image, in one pass over the scores.

    Memory beside the embeddings is O(N) and a tile. The right answers' scores are taken in float64 and the
    right answers never counted against themselves, so rounding cannot put an item above itself.

    Args:
        image: (N, E) floating point, of any length but zero; float16 and bfloat16 are cast up.
        text: (N, E), row i belongs to row i of `image`.
        group: (N,) int64; rows with the same number are right answers of each other.
        tile: rows and columns of a tile of scores; it changes speed and memory, never a result.

    Returns:
        The ranks of the N texts as queries over images, and of the N images as queries over texts.

    Raises:
        UserError: An embedding is not finite, has length zero or is not floating point.

    Example:
        >>> image = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> text = torch.tensor([[2.0, 0.0], [3.0, 0.0], [1.0, 1.0]])
        >>> text_to_image, image_to_text = rank_both(image, text, torch.arange(3))
        >>> text_to_image.expected.tolist(), image_to_text.expected.tolist()
        ([1.0, 3.0, 1.0], [1.5, 2.5, 1.0])
    """
    if not image.shape == text.shape == (len(group), *image.shape[1:2]):
        raise ValueError(f"shapes do not match: {image.shape}, {text.shape}, {group.shape}")
    tile = max(1, min(tile, len(group)))
    device = image.device if image.device.type == "cuda" else torch.device("cpu")  # MPS knows no float64
    with torch.no_grad(), _full_float32():
        group = group.to(device)
        images, texts = UnitVectors(image, "image", device), UnitVectors(text, "text", device)
        by_text, by_image = _Tally(texts, images, group), _Tally(images, texts, group)
        images32, texts32 = images.rounded(), texts.rounded()
        spare = torch.empty(2, tile, tile, device=device)  # one memory for all tiles: fresh pages are slow
        for i in range(0, len(group), tile):
            rows = slice(i, i + tile)
            for j in range(0, len(group), tile):
                columns = slice(j, j + tile)
                left, right = images32[rows], texts32[columns]
                score, flag = spare[:, : len(left), : len(right)]
                torch.mm(left, right.T, out=score)  # with `out`, autocast leaves it alone
                tiles = (by_image, score, rows, columns), (by_text, score.T, columns, rows)
                counts = by_image.certain(score, flag, rows), by_text.certain(score.T, flag.T, columns)
                if sum(int(open_.sum()) for _, open_ in counts) > DENSE * score.numel():
                    exact = images.exact(rows) @ texts.exact(columns).T
                    by_image.add_exact(exact, rows, columns)
                    by_text.add_exact(exact.T, columns, rows)
                    continue
                for (tally, scores, queries, items), (above, open_) in zip(tiles, counts, strict=True):
                    tally.above[queries] += above
                    tally.add_open(scores, open_, queries, items)
    return by_text.ranks(), by_image.ranks()


class _Tally:
    """The counts of one direction: queries in the rows of a tile, gallery in its columns."""

    def __init__(self, query: UnitVectors, gallery: UnitVectors, group: Tensor) -> None:
        self.query, self.gallery, self.group = query, gallery, group
        self.best, self.tied_right = _best_right(query, gallery, group)
        self.above = torch.zeros_like(group)
        self.tied_wrong = torch.zeros_like(group)
        # What a float32 product of unit vectors can be off by (Higham 2002, eq. 3.5) and, twice, its inputs.
        width = query.values.shape[1]
        band = max(NEAR, TIE + (width + 4) * 2.0**-24)
        self.low, self.high = (self.best - band).float(), (self.best + band).float()

    def certain(self, score: Tensor, flag: Tensor, queries: slice) -> tuple[Tensor, Tensor]:
        """Count a tile (q, g) of float32 scores as far as float32 can.

        Returns:
            For each query how many items certainly score higher (q,), and how many are left open (q,), int64.
        """
        # Comparing into a float32 tensor and adding that up is several times faster than adding up booleans.
        above = torch.gt(score, self.high[queries, None], out=flag).sum(1)
        reached = torch.ge(score, self.low[queries, None], out=flag).sum(1)
        return above.long(), (reached - above).long()

    def add_open(self, score: Tensor, open_: Tensor, queries: slice, items: slice) -> None:
        """Decide in float64 the pairs of a tile (q, g) that `certain` left open, `open_` (q,) in number."""
        doubtful = open_.nonzero().flatten()
        rows = doubtful + queries.start
        part = score[doubtful]
        near = (part >= self.low[rows, None]) & (part <= self.high[rows, None])
        row, column = near.nonzero().unbind(1)
        query, item = rows[row], column + items.start
        wrong = self.group[query] != self.group[item]
        for q, g in zip(torch.split(query[wrong], CHUNK), torch.split(item[wrong], CHUNK), strict=True):
            gap = (self.query.exact(q) * self.gallery.exact(g)).sum(1) - self.best[q]
            self.above.index_add_(0, q, (gap > TIE).long())
            self.tied_wrong.index_add_(0, q, (gap.abs() <= TIE).long())

    def add_exact(self, exact: Tensor, queries: slice, items: slice) -> None:
        """Count a tile (q, g) of float64 scores."""
        wrong = self.group[queries, None] != self.group[None, items]
        gap = exact - self.best[queries, None]
        self.above[queries] += ((gap > TIE) & wrong).sum(1)
        self.tied_wrong[queries] += ((gap.abs() <= TIE) & wrong).sum(1)

    def ranks(self) -> Ranks:
        return Ranks(self.above.cpu(), self.tied_wrong.cpu(), self.tied_right.cpu())


def _best_right(query: UnitVectors, gallery: UnitVectors, group: Tensor) -> tuple[Tensor, Tensor]:
    """Return each query's best right score (N,) float64 and how many right items are tied at it (N,)."""
    best = torch.empty(len(group), dtype=torch.float64, device=group.device)
    tied = torch.empty_like(group)
    for queries, members in _same_group(group):
        score = query.exact(queries) @ gallery.exact(members).mT
        top = score.amax(-1, keepdim=True)
        best[queries] = top.squeeze(-1)
        tied[queries] = (top - score <= TIE).sum(-1)
    return best, tied


def _same_group(group: Tensor, limit: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield index blocks: queries (G, m) and all members (G, n) of their G groups, every query once.

    Groups of one size go together, so that thousands of small groups cost a few batched products.
    """
    _, size = torch.unique(group, return_counts=True)
    order, start = group.argsort(), size.cumsum(0) - size
    for n in size.unique().tolist():
        within = torch.arange(n, device=group.device)
        for members in torch.split(order[start[size == n, None] + within], max(1, limit // n)):
            for queries in torch.split(members, max(1, limit * 4096 // members.numel()), dim=1):
                yield queries, members


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Keep TF32 (CUDA) and bfloat16 (CPU) out of float32 products, whatever the user set for training."""
    if not hasattr(torch.backends.mkldnn, "matmul"):  # torch 2.8: one switch for all
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    # From 2.9 on the old switch cannot be read once somebody has used the new ones.
    switches = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    kept = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, value in zip(switches, kept, strict=True):
            switch.fp32_precision = value
