"""The order of training studies, as a function of seed and epoch alone."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler


class EpochSampler(DistributedSampler[Any]):
    """Shuffle by seed and epoch, and hand the dataset (epoch, position) pairs.

    With the epoch in the pair, everything random about a sample can be derived from (seed, epoch, row): a resumed run
    sees the same samples as an uninterrupted one, with any number of workers. Lightning sets the epoch of a
    DistributedSampler and does not replace it.

    Args:
        dataset: only its length is used.
        world: number of training processes.
        rank: number of this process.
        seed: of the shuffle.
    """

    def __init__(self, dataset: Dataset[Any], world: int, rank: int, seed: int) -> None:
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=True, seed=seed)

    def __iter__(self) -> Iterator[Any]:
        for position in super().__iter__():
            yield self.epoch, position
