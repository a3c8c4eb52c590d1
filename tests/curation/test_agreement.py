"""Agreement against the originals' own tables, a slow reference and the library that others use."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.curation.review.agreement import agreement, cohen_kappa, fleiss_kappa
from bimcvr.curation.review.queue import Question, Review

# 10 subjects, 14 raters, 5 categories: the worked example in Wikipedia's article on Fleiss' kappa, 0.210
TABLE = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def test_fleiss_worked_example() -> None:
    items = [[str(category) for category, times in enumerate(row) for _ in range(times)] for row in TABLE]
    assert fleiss_kappa(items) == pytest.approx(0.210, abs=5e-4)


def test_cohen_worked_example() -> None:
    # 20 both yes, 5 yes/no, 10 no/yes, 15 both no: 0.4
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
@settings(deadline=None)
def test_cohen_as_sklearn_has_it(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    ours = cohen_kappa(first, second)
    if ours is None:
        assert len({*first, *second}) == 1
    else:
        assert ours == pytest.approx(metrics.cohen_kappa_score(first, second))


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=2, max_size=5), min_size=1, max_size=10))
def test_fleiss_against_all_pairs(items: list[list[str]]) -> None:
    every = [answer for item in items for answer in item]
    chance = sum(one == other for one in every for other in every) / len(every) ** 2
    alike = [[one == other for one, other in itertools.combinations(item, 2)] for item in items]
    observed = sum(sum(pairs) / len(pairs) for pairs in alike) / len(items)
    ours = fleiss_kappa(items)
    if chance == 1:
        assert ours is None
    else:
        assert ours == pytest.approx((observed - chance) / (1 - chance))


def review(study: str, who: str, decision: str, labels: set[str] | None = None) -> Review:
    return Review(Question(study, "r", "t"), decision, "", None if labels is None else frozenset(labels), who, 2)


def test_two_reviewers_of_decisions_and_labels() -> None:
    reviews = [
        review("s1", "ana", "accept", {"nodule"}),
        review("s1", "eva", "accept", {"nodule", "mass"}),
        review("s2", "ana", "reject", set()),
        review("s2", "eva", "accept", set()),
        review("s3", "ana", "accept"),
        review("s4", "", ""),
        review("s5", "eva", "reject", {"mass"}),
    ]
    found = {one.about: one for one in agreement(reviews)}
    assert list(found) == ["decision", "mass", "nodule"]
    decision = found["decision"]
    assert (decision.items, decision.reviewers, decision.raw) == (2, 2, 0.5)
    assert decision.cohen == pytest.approx(0.0)
    assert found["nodule"].raw == 1.0
    assert found["nodule"].fleiss == pytest.approx(1.0)
    assert found["mass"].raw == 0.5


def test_three_reviewers_have_no_cohen_and_one_has_nothing() -> None:
    three = [review("s1", who, "accept") for who in ("ana", "eva", "leo")]
    found = agreement(three)[0]
    assert (found.reviewers, found.cohen, found.fleiss, found.raw) == (3, None, None, 1.0)
    assert agreement(three[:1]) == []
    assert agreement([]) == []


def test_a_reviewer_s_last_row_counts() -> None:
    reviews = [review("s1", "ana", "reject"), review("s1", "eva", "accept"), review("s1", "ana", "accept")]
    assert agreement(reviews)[0].raw == 1.0
