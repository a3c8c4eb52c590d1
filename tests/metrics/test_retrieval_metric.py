"""Figures of both directions, and the torchmetrics class in one process, in two and in three."""

import queue
import socket
from math import nan
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Resampling, build_result
from bimcvr.metrics.retrieval_metric import (
    CrossModalRetrieval,
    both_directions,
    first_filled,
    selection_score,
)
from helpers.forks import fork_server

SIZE, WIDTH = 11, 6
GROUP = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1])


def tables() -> tuple[Tensor, Tensor]:
    """Embeddings that tie here and there, and whose thirds float32 cannot hold."""
    random = torch.Generator().manual_seed(3)
    image = torch.randint(-2, 3, (SIZE, WIDTH), generator=random) / 3 + 0.1
    return image, image + torch.randint(-2, 3, (SIZE, WIDTH), generator=random) / 3


def filled(*batches: list[int]) -> CrossModalRetrieval:
    metric, (image, text) = CrossModalRetrieval(SIZE, WIDTH, GROUP), tables()
    for batch in batches:
        metric.update(torch.tensor(batch, dtype=torch.long), image[batch], text[batch])
    return metric


def test_a_k_above_the_gallery_is_left_out() -> None:
    found = both_directions(*tables(), GROUP, ks=(1, 11, 12))
    assert list(found["image_to_text"]) == ["R@1", "R@11", "MRR", "MdR", "MnR"]


def test_selection_score_is_the_mean_of_what_is_there() -> None:
    one, other = {"R@1": 1.0, "R@5": 2.0, "MdR": 50.0}, {"R@1": 3.0, "R@5": 6.0, "MdR": 60.0}
    assert selection_score({"text_to_image": one, "image_to_text": other}) == 3.0
    assert selection_score(both_directions(torch.eye(12), torch.eye(12), torch.arange(12))) == 100.0


# --- one process


@pytest.mark.parametrize(
    "batches",
    [
        [list(range(SIZE))],
        [[i] for i in reversed(range(SIZE))],
        [[3, 1, 4], [1, 5, 9, 2, 6], [], [10, 8, 7, 0], [3, 3]],
    ],
)
def test_batches_do_not_matter(batches: list[list[int]]) -> None:
    assert filled(*batches).compute() == both_directions(*tables(), GROUP)


def test_a_row_seen_again_is_replaced() -> None:
    metric = filled(list(range(SIZE)))
    metric.compute()
    image, text = tables()
    metric.update(torch.tensor([4]), -image[4:5], text[4:5])
    image[4] *= -1
    assert metric.compute() == both_directions(image, text, GROUP)


def test_reset_forgets_all_rows() -> None:
    metric = filled(list(range(SIZE)))
    metric.reset()
    assert not metric.image.any()
    metric.update(torch.tensor([2]), torch.ones(1, WIDTH), torch.ones(1, WIDTH))
    with pytest.raises(UserError, match=r"10 of 11 rows .* row 0.*limit_val_batches"):
        metric.compute()
    with pytest.raises(UserError, match="10 of 11 rows"):
        metric.embeddings()


def test_not_a_number_is_not_a_rank() -> None:
    metric = filled(list(range(SIZE)))
    metric.update(torch.tensor([5]), torch.full((1, WIDTH), nan), torch.ones(1, WIDTH))
    with pytest.raises(UserError, match=r"image embeddings are not finite \(row 5\)"):
        metric.compute()


@pytest.mark.parametrize("index", [-1, SIZE])
def test_an_index_outside_is_refused(index: int) -> None:
    metric, row = CrossModalRetrieval(SIZE, WIDTH, GROUP), torch.ones(1, WIDTH)
    with pytest.raises(ValueError, match="index outside of 0 … 10"):
        metric.update(torch.tensor([index]), row, row)


def test_ddp_finds_no_buffer_to_broadcast() -> None:
    """Validation goes through DDP's forward, and processes with unequal batch counts would wait for ever."""
    metric = CrossModalRetrieval(SIZE, WIDTH, GROUP)
    assert not list(metric.buffers())
    assert not metric.state_dict()


def test_copies_of_three_processes_are_taken_as_they_are() -> None:
    """A sum of three copies divided by three is off by a bit for some of these."""
    row = torch.rand(1, 5, 64, generator=torch.Generator().manual_seed(0))
    assert not torch.equal((row + row + row) / 3, row)
    assert torch.equal(first_filled(torch.cat([row, row, torch.zeros_like(row), row])), row[0])
    assert first_filled(torch.stack([torch.zeros(2, 3), torch.full((2, 3), nan)])).isnan().all()


# --- two and three processes

SHARES: dict[int, dict[str, list[list[list[int]]]]] = {
    2: {
        "an odd number, padded as Lightning does": [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 0]]],
        "a process without a row": [[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10]], []],
        "the other process without a row": [[], [[10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]],
        "unequal batch counts, all rows twice": [[list(range(SIZE))], [[i] for i in range(SIZE)]],
    },
    3: {
        "uneven, padded with duplicates": [[[0, 3, 6, 9]], [[1, 4, 7, 10]], [[2, 5], [8, 0]]],
        "one rank empty": [[[0, 1, 2, 3]], [], [[4, 5, 6], [7, 8, 9], [10]]],
        "all rows three times": [[list(range(SIZE))], [[i] for i in range(SIZE)], [list(reversed(range(SIZE)))]],
    },
}


def blocks(image: Tensor, text: Tensor) -> dict[str, Any]:
    """The blocks of a result that have to be identical."""
    gallery = Gallery(
        rows=np.arange(SIZE),
        study_id=[f"s{i}" for i in range(SIZE)],
        group=GROUP.numpy(),
        same_text=np.arange(SIZE),
        elsewhere=np.zeros(SIZE, dtype=bool),
        flagged=np.zeros(SIZE, dtype=bool),
        patient=[f"p{i // 2}" for i in range(SIZE)],
        labels=[frozenset({"mass"} if i % 3 else {"cyst"}) for i in range(SIZE)],
        description={},
    )
    result = build_result([Embeddings(gallery.study_id, image, text)], gallery, resampling=Resampling(resamples=300))
    return {name: result[name] for name in ("metrics", "intervals")}


def _work(rank: int, world: int, port: int, answers: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    image, text = tables()
    metric = CrossModalRetrieval(SIZE, WIDTH, GROUP)
    for name, shares in SHARES[world].items():
        metric.reset()
        for batch in shares[rank]:
            metric.update(torch.tensor(batch), image[batch], text[batch])
        metrics, together = metric.compute(), metric.embeddings()
        own = sorted({row for batch in shares[rank] for row in batch})
        back = metric.seen.nonzero().flatten().tolist() == own
        exact = torch.equal(together[0], image) and torch.equal(together[1], text)
        answers.put((rank, name, metrics, blocks(*together), exact, back))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_give_the_figures_of_one(world: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = fork_server().Queue()
    torch.multiprocessing.start_processes(_work, (world, port, answers), nprocs=world, start_method="forkserver")  # type: ignore[attr-defined, no-untyped-call]
    got: list[tuple[int, str, dict[str, dict[str, float]], dict[str, Any], bool, bool]] = []
    while len(got) < world * len(SHARES[world]):
        try:
            got.append(answers.get(timeout=10))
        except queue.Empty:
            break
    assert {(rank, name) for rank, name, *_ in got} == {(rank, name) for rank in range(world) for name in SHARES[world]}
    one, whole = filled(list(range(SIZE))).compute(), blocks(*tables())
    for rank, name, metrics, result, exact, back in got:
        assert metrics == one, (rank, name)
        assert result == whole, (rank, name)
        assert exact, (rank, name)
        assert back, (rank, name)
