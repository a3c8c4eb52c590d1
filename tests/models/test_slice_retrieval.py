"""Slice search against counting by hand: freq, max and sum of a query's best slices, ties by no order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.metrics.ranking.ranks import rank_scores
from bimcvr.models.volume.slice_retrieval import FUSIONS, SliceRetrieval, slice_scores


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_scores(query: Tensor, slices: Tensor, hits: int) -> dict[str, list[list[float]]]:
    """A sorted list of all slices, cut behind the hits, and a loop over volumes."""
    found: dict[str, list[list[float]]] = {how: [] for how in FUSIONS}
    for text in query.double():
        ranked = sorted(
            (
                (float(torch.cosine_similarity(text, vector.double(), dim=0)), volume)
                for volume, of in enumerate(slices)
                for vector in of
            ),
            reverse=True,
        )[:hits]
        mine = [[score for score, of in ranked if of == volume] for volume in range(len(slices))]
        none = -slices.shape[1] - 1.0
        found["freq"].append([float(len(scores)) for scores in mine])
        found["max"].append([max(scores, default=none) for scores in mine])
        found["sum"].append([sum(scores) if scores else none for scores in mine])
    return found


@pytest.mark.parametrize("hits", [1, 7, 20, 500])
def test_scores_are_those_of_a_sorted_list(hits: int) -> None:
    query, slices = noise(70, 6), noise(9, 5, 6, seed=1)  # several chunks of queries
    slow = slow_scores(query, slices, hits)
    for how, score in slice_scores(query, slices, hits).items():
        assert score.shape == (70, 9)
        torch.testing.assert_close(score, torch.tensor(slow[how], dtype=torch.float64), rtol=0, atol=1e-9)


def test_a_volume_without_a_hit_is_below_all_that_have_one() -> None:
    query = torch.tensor([[1.0, 0.0]])
    slices = torch.tensor([[[-1.0, 0.1], [-1.0, 0.2]], [[-1.0, 0.0], [-1.0, 0.01]]])  # every cosine is near −1
    for score in slice_scores(query, slices, 2).values():
        assert score[0, 0] > score[0, 1]


def test_slices_tied_with_the_last_hit_are_hits_whatever_their_order() -> None:
    query, same = torch.tensor([[1.0, 0.0]]), torch.tensor([0.6, 0.8])
    slices = torch.stack(
        [torch.stack([torch.tensor([1.0, 0.0]), same]), torch.stack([same, same]), torch.stack([-same, same])]
    )
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        score = slice_scores(query, slices[order], 2)
        assert [score["freq"][0, order.index(volume)].item() for volume in range(3)] == [2, 2, 1]


@given(st.integers(1, 12), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_ranks_of_a_matrix_are_the_engines(rows: int, seed: int, tied: bool) -> None:
    image, text = noise(rows, 3, seed=seed), noise(rows, 3, seed=seed + 1)
    if tied:
        image[: rows // 2] = image[0]
    group = torch.randint(rows, (rows,), generator=torch.Generator().manual_seed(seed))
    score = (
        torch.nn.functional.normalize(text.double(), dim=-1) @ torch.nn.functional.normalize(image.double(), dim=-1).T
    )
    engine, _ = rank_both(image, text, group)
    matrix = rank_scores(score, group, group)
    for name in ("above", "tied_wrong", "tied_right"):
        assert torch.equal(getattr(engine, name), getattr(matrix, name))


def test_a_matrix_that_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        rank_scores(torch.tensor([[1.0, torch.nan]]), torch.tensor([0]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no right answer"):
        rank_scores(torch.tensor([[1.0, 2.0]]), torch.tensor([5]), torch.tensor([0, 1]))


def test_slices_of_every_volume_must_be_there() -> None:
    search = SliceRetrieval(2, 3)
    search.update(torch.tensor([2, 0]), noise(2, 4, 5))
    with pytest.raises(ValueError, match="missing"):
        search.result(noise(3, 5), None)  # type: ignore[arg-type]
