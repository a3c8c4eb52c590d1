"""P@K against an average over every order of tied images."""

from fractions import Fraction
from itertools import pairwise, permutations
from math import nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bimcvr.errors import UserError
from bimcvr.metrics.keyword import keyword_precision

VECTOR = st.tuples(st.integers(-1, 1), st.integers(-1, 1)).filter(any)


@settings(max_examples=150, deadline=None)
@given(VECTOR, st.lists(st.tuples(VECTOR, st.booleans()), min_size=1, max_size=6))
def test_equals_the_mean_over_all_orders(
    prompt: tuple[int, int], items: list[tuple[tuple[int, int], bool]]
) -> None:
    """A best-first order is any order of the images in which no score rises."""
    image = torch.tensor([vector for vector, _ in items]).float()
    relevant = torch.tensor([[is_relevant for _, is_relevant in items]])
    score = torch.nn.functional.cosine_similarity(torch.tensor([prompt]).double(), image.double()).tolist()
    orders = [
        [items[i][1] for i in order]
        for order in permutations(range(len(items)))
        if all(score[i] > score[j] - 1e-9 for i, j in pairwise(order))
    ]
    ks = range(1, len(items) + 1)
    [found] = keyword_precision(torch.tensor([prompt]).float(), image, relevant, list(ks))
    for k in ks:
        mean = Fraction(sum(sum(order[:k]) for order in orders), k * len(orders))
        assert found[f"P@{k}"] == pytest.approx(100 * float(mean))
    assert found["prevalence"] == pytest.approx(100 * sum(r for _, r in items) / len(items))


def cohort() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    relevant = torch.rand(3, 700, generator=random) < torch.tensor([[0.1], [0.5], [0.0]])
    return torch.randn(3, 16, generator=random), torch.randn(700, 16, generator=random), relevant


def test_equals_a_sort_where_nothing_ties() -> None:
    prompt, image, relevant = cohort()
    order = (torch.nn.functional.normalize(image.double()) @ prompt.double().T).T.argsort(descending=True)
    for p, found in enumerate(keyword_precision(prompt, image, relevant)):
        assert found == pytest.approx(
            {
                **{f"P@{k}": 100 * relevant[p, order[p, :k]].double().mean().item() for k in (20, 50, 100)},
                "prevalence": 100 * relevant[p].double().mean().item(),
            }
        )


def test_a_collapsed_model_has_the_prevalence() -> None:
    prompt, image, relevant = cohort()
    for found in keyword_precision(prompt, torch.ones_like(image), relevant):
        assert list(found.values()) == pytest.approx([found["prevalence"]] * 4)


def test_order_of_images_does_not_matter() -> None:
    prompt, image, relevant = cohort()
    image[100:300] = image[100]
    order = torch.randperm(700, generator=torch.Generator().manual_seed(1))
    moved = keyword_precision(prompt, image[order], relevant[:, order])
    for found, other in zip(keyword_precision(prompt, image, relevant), moved, strict=True):
        assert found == pytest.approx(other)


def test_a_k_above_the_gallery_is_left_out() -> None:
    prompt, image, relevant = cohort()
    [found] = keyword_precision(prompt[:1], image[:50], relevant[:1, :50])
    assert list(found) == ["P@20", "P@50", "prevalence"]


def test_a_prompt_that_is_not_a_number_is_refused() -> None:
    prompt, image, relevant = cohort()
    prompt[1] = nan
    with pytest.raises(UserError, match=r"1 of 3 prompt embeddings are not finite \(row 1\)"):
        keyword_precision(prompt, image, relevant)


def test_relevance_has_to_fit() -> None:
    prompt, image, relevant = cohort()
    with pytest.raises(ValueError, match="relevant has shape"):
        keyword_precision(prompt, image, relevant.T)
