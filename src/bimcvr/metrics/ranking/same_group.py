"""Queries and items of the same group, in blocks that can be multiplied."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bimcvr.metrics.ranking.unit_vectors import CHUNK


def same_group(query_group: Tensor, gallery_group: Tensor, limit: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield index blocks: queries (G, m) and all members (G, n) of their G groups, every query once.

    Groups of equal sizes are yielded together, so that thousands of small groups cost a few batched products.

    Args:
        query_group: (Q,) int64, each query's group; each group occurs in the gallery.
        gallery_group: (N,) int64, each item's group.
        limit: The most members of one block, in rows of embeddings that fit into the processor's cache.
    """
    names, size = torch.unique(query_group, return_counts=True)
    order, start = query_group.argsort(stable=True), size.cumsum(0) - size
    items, (item_names, item_size) = gallery_group.argsort(stable=True), torch.unique(gallery_group, return_counts=True)
    position = torch.searchsorted(item_names, names)
    members_of, members_from = item_size[position], (item_size.cumsum(0) - item_size)[position]
    base = int(members_of.max()) + 1
    for code in torch.unique(size * base + members_of).tolist():  # pairs as one number: `unique` with `dim` is slow
        m, n = divmod(code, base)
        alike = ((size == m) & (members_of == n)).nonzero().flatten()
        for groups in torch.split(alike, max(1, limit // n)):
            members = items[members_from[groups, None] + torch.arange(n, device=items.device)]
            queries = order[start[groups, None] + torch.arange(m, device=items.device)]
            for part in torch.split(queries, max(1, limit * 4096 // members.numel()), dim=1):
                yield part, members
