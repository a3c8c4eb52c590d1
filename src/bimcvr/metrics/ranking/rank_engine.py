"""The rank engine: the rank of each query's right answer among all scores of a gallery.

Pure functions of tensors. The matrix of scores is never stored: it is computed once, tile by tile, and counted, for
both directions at a time if both are wanted. Scores are cosines. Float32 only decides pairs that are clearly apart;
whatever lies within its rounding error of the best right score is decided again in float64. Tile size, row order,
device and process count therefore never change a rank.
"""

import itertools
import threading

import torch
from torch import Tensor

from bimcvr.metrics.ranking.float32_scores import float32_error, full_float32
from bimcvr.metrics.ranking.ranks import TIE, Ranks
from bimcvr.metrics.ranking.same_group import same_group
from bimcvr.metrics.ranking.threads import OneCoreEach
from bimcvr.metrics.ranking.unit_vectors import CHUNK, UnitVectors

NEAR = 1e-5
"""Smallest distance to the best right score at which a float32 score is trusted."""

DENSE = 1 / 64
"""Share of near pairs in a tile above which the whole tile is cheaper in float64 than its pairs."""


def rank_both(image: Tensor, text: Tensor, group: Tensor, tile: int = 512) -> tuple[Ranks, Ranks]:
    """Rank every image for every text and every text for every image, in one pass over the scores.

    Besides the embeddings it needs O(N) memory and one tile. Scores of right answers are computed in float64, and
    right answers are never counted as wrong ones, so rounding cannot rank an item above itself.

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
    device = _device(image)
    with torch.no_grad(), OneCoreEach(device) as cores:
        group = group.to(device)
        images, texts = cores.map(UnitVectors, [(image, "image", device), (text, "text", device)])
        by_image, by_text = cores.map(_Tally, [(images, texts, group, group), (texts, images, group, group)])
        _count(images, texts, by_image, by_text, tile, cores)
    return by_text.ranks(), by_image.ranks()


def rank_queries(query: Tensor, gallery: Tensor, query_group: Tensor, gallery_group: Tensor, tile: int = 512) -> Ranks:
    """Rank a gallery for a set of queries, in one direction.

    Args:
        query: (Q, E) floating point.
        gallery: (N, E) floating point.
        query_group: (Q,) int64; an item of the same number is a right answer.
        gallery_group: (N,) int64.
        tile: rows and columns of a tile of scores.

    Raises:
        UserError: An embedding is not finite, has length zero or is not floating point.
        ValueError: A query has no right answer.
    """
    if not torch.isin(query_group, gallery_group).all():
        raise ValueError("a query has no right answer in the gallery")
    device = _device(gallery)
    with torch.no_grad(), OneCoreEach(device) as cores:
        queries, items = cores.map(UnitVectors, [(query, "query", device), (gallery, "gallery", device)])
        tally = _Tally(queries, items, query_group.to(device), gallery_group.to(device))
        _count(queries, items, tally, None, tile, cores)
    return tally.ranks()


def _device(values: Tensor) -> torch.device:
    return values.device if values.device.type == "cuda" else torch.device("cpu")  # MPS has no float64


def _count(
    left: UnitVectors,
    right: UnitVectors,
    forward: "_Tally",
    backward: "_Tally | None",
    tile: int,
    cores: OneCoreEach,
) -> None:
    """Count all tiles of scores left × right: `forward` has its queries on the left, `backward` on the right."""
    with full_float32():
        tiles = _Tiles(left, right, forward, backward, tile)
        cores.map(tiles.count, tiles.places())


class _Tiles:
    """The tiles of scores left × right, each counted for itself, by any thread."""

    def __init__(
        self, left: UnitVectors, right: UnitVectors, forward: "_Tally", backward: "_Tally | None", tile: int
    ) -> None:
        self.left, self.right, self.forward, self.backward, self.tile = left, right, forward, backward, tile
        self.lefts, self.rights = left.rounded(), right.rounded()
        self.own = threading.local()

    def places(self) -> list[tuple[slice, slice]]:
        """Return rows and columns of every tile."""
        size = self.tile
        starts = itertools.product(range(0, len(self.lefts), size), range(0, len(self.rights), size))
        return [(slice(i, i + size), slice(j, j + size)) for i, j in starts]

    def count(self, rows: slice, columns: slice) -> None:
        """Add the counts of one tile."""
        forward, backward = self.forward, self.backward
        score, flag = self._buffer()[:, : len(self.lefts[rows]), : len(self.rights[columns])]
        torch.mm(self.lefts[rows], self.rights[columns].T, out=score)  # with `out`, autocast leaves it alone
        tiles = [(forward, score, flag, rows, columns)]
        if backward is not None:
            if rows.start == columns.start:
                # pairs are right answers: left in, all of them would be decided again in float64
                score.fill_diagonal_(-torch.inf)
            tiles.append((backward, score.T, flag.T, columns, rows))
        counts = [tally.certain(scores, flags, queries) for tally, scores, flags, queries, _ in tiles]
        if sum(int(open_.sum()) for _, open_ in counts) > DENSE * score.numel():
            exact = self.left.exact(rows) @ self.right.exact(columns).T
            forward.add_exact(exact, rows, columns)
            if backward is not None:
                backward.add_exact(exact.T, columns, rows)
            return
        for (tally, scores, _, queries, items), (above, open_) in zip(tiles, counts, strict=True):
            tally.add_certain(above, queries)
            tally.add_open(scores, open_, queries, items)

    def _buffer(self) -> Tensor:
        """Return two tiles of memory, the same for all tiles of a thread: fresh pages are slow."""
        if not hasattr(self.own, "buffer"):
            heights, widths = min(self.tile, len(self.lefts)), min(self.tile, len(self.rights))
            self.own.buffer = self.lefts.new_empty(2, heights, widths)
        buffer: Tensor = self.own.buffer
        return buffer


class _Tally:
    """The counts of one direction: queries are the rows of a tile, the gallery its columns."""

    def __init__(self, query: UnitVectors, gallery: UnitVectors, query_group: Tensor, gallery_group: Tensor) -> None:
        self.query, self.gallery, self.query_group, self.gallery_group = query, gallery, query_group, gallery_group
        self.best, self.tied_right = _best_right(query, gallery, query_group, gallery_group)
        self.above = torch.zeros_like(query_group)
        self.tied_wrong = torch.zeros_like(query_group)
        band = max(NEAR, TIE + float32_error(query.values.shape[1]))
        self.low, self.high = (self.best - band).float(), (self.best + band).float()
        self._lock = threading.Lock()  # tiles of several threads have queries in common

    def certain(self, score: Tensor, flag: Tensor, queries: slice) -> tuple[Tensor, Tensor]:
        """Count a tile (q, g) of float32 scores as far as float32 can.

        Returns:
            For each query how many items certainly score higher (q,), and how many are undecided (q,), int64.
        """
        # comparing into a float32 tensor and summing that is several times faster than summing booleans
        above = torch.gt(score, self.high[queries, None], out=flag).sum(1)
        reached = torch.ge(score, self.low[queries, None], out=flag).sum(1)
        return above.long(), (reached - above).long()

    def add_certain(self, above: Tensor, queries: slice) -> None:
        """Add what `certain` counted (q,)."""
        with self._lock:
            self.above[queries] += above

    def add_open(self, score: Tensor, open_: Tensor, queries: slice, items: slice) -> None:
        """Decide in float64 the pairs of a tile (q, g) that `certain` left undecided, `open_` (q,) of them a query."""
        doubtful = open_.nonzero().flatten()
        if not len(doubtful):
            return
        rows = doubtful + queries.start
        part = score[doubtful]
        near = (part >= self.low[rows, None]) & (part <= self.high[rows, None])
        row, column = near.nonzero().unbind(1)
        query, item = rows[row], column + items.start
        wrong = self.query_group[query] != self.gallery_group[item]
        for q, g in zip(torch.split(query[wrong], CHUNK), torch.split(item[wrong], CHUNK), strict=True):
            gap = self.query.cosine(q, self.gallery, g) - self.best[q]
            with self._lock:
                self.above.index_add_(0, q, (gap > TIE).long())
                self.tied_wrong.index_add_(0, q, (gap.abs() <= TIE).long())

    def add_exact(self, exact: Tensor, queries: slice, items: slice) -> None:
        """Count a tile (q, g) of float64 scores."""
        wrong = self.query_group[queries, None] != self.gallery_group[None, items]
        gap = exact - self.best[queries, None]
        above, tied = ((gap > TIE) & wrong).sum(1), ((gap.abs() <= TIE) & wrong).sum(1)
        with self._lock:
            self.above[queries] += above
            self.tied_wrong[queries] += tied

    def ranks(self) -> Ranks:
        return Ranks(self.above.cpu(), self.tied_wrong.cpu(), self.tied_right.cpu())


def _best_right(
    query: UnitVectors, gallery: UnitVectors, query_group: Tensor, gallery_group: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each query's best right score (Q,) float64 and how many right items are tied at it (Q,)."""
    best = torch.empty(len(query_group), dtype=torch.float64, device=query_group.device)
    tied = torch.empty_like(query_group)
    for queries, members in same_group(query_group, gallery_group):
        if members.shape[1] == 1 and queries.shape[1] == 1:
            best[queries] = query.cosine(queries, gallery, members)
            tied[queries] = 1
            continue
        score = query.exact(queries) @ gallery.exact(members).mT
        top = score.amax(-1, keepdim=True)
        best[queries] = top.squeeze(-1)
        tied[queries] = (top - score <= TIE).sum(-1)
    return best, tied
