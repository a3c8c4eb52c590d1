"""The order of training: every study once an epoch, the same for any number of processes."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from bimcvr.data.loading.dataset import derive_seed
from bimcvr.data.loading.sampler import EpochSampler


@given(st.integers(1, 40), st.integers(0, 9), st.integers(0, 5))
def test_two_processes_see_what_one_sees_in_the_same_order(size: int, epoch: int, seed: int) -> None:
    dataset = TensorDataset(torch.arange(size))
    samplers = [EpochSampler(dataset, world, rank, seed) for world, rank in ((1, 0), (2, 0), (2, 1))]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    alone, even, odd = (list(sampler) for sampler in samplers)
    assert sorted(position for _, position in alone) == list(range(size))
    assert {number for number, _ in alone} == {epoch}
    assert even == alone[::2]
    assert odd[: size // 2] == alone[1::2]


def test_derived_seeds_are_fixed() -> None:
    assert derive_seed(0, 1, 2, "text") == derive_seed(0, 1, 2, "text")
    assert len({derive_seed(0, epoch, row, view) for epoch in range(9) for row in range(9) for view in (0, 1)}) == 162
