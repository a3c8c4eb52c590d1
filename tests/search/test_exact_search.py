"""Exact search against a slow reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.search.index import exact_search
from bimcvr.search.index.exact_search import Vectors, unit_vector


def slow_top(vectors: Vectors, query: np.ndarray, count: int, allowed: np.ndarray) -> list[int]:
    """Every cosine in float64, one by one; best first, ties by id."""
    unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    rows = [vectors.row(position).astype(np.float64) for position in range(len(vectors.slot))]
    scored = [
        (-float(np.sum(row * unit)), vectors.order[position], position)
        for position, row in enumerate(rows)
        if allowed[position]
    ]
    return [position for *_, position in sorted(scored)[:count]]


def vectors_of(rng: np.random.Generator, slots: int, dead: int, copies: int) -> Vectors:
    """Unit vectors of which some slots are dead, and some vectors are in several."""
    distinct = rng.standard_normal((max(1, slots // copies), 8))
    values = distinct[rng.integers(0, len(distinct), slots)]
    values = np.stack([unit_vector(row) for row in values]).astype(np.float32)
    slot = np.sort(rng.permutation(slots)[: slots - dead])
    return Vectors(values, slot, rng.permutation(len(slot)))


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.integers(0, 40),
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(1, 4),
)
def test_equals_the_slow_reference(seed: int, slots: int, dead: int, copies: int, count: int, queries: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = vectors_of(rng, slots, min(dead, slots - 1), copies)
    allowed = rng.random(len(vectors.slot)) < 0.7
    batch = rng.standard_normal((queries, 8)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_search, "COPY_BLOCK", 37)
        for mask in (None, allowed):
            found = vectors.top(batch, count, mask)
            for query, top in zip(batch, found, strict=True):
                every = np.ones(len(vectors.slot), dtype=bool) if mask is None else mask
                assert top.position.tolist() == slow_top(vectors, query, count, every)


def test_more_ties_than_candidates_are_all_broken_by_id() -> None:
    rng = np.random.default_rng(0)
    one = unit_vector(rng.standard_normal(8)).astype(np.float32)
    vectors = Vectors(np.tile(one, (500, 1)), np.arange(500), rng.permutation(500))
    for queries in (1, 3):
        for top in vectors.top(np.tile(one, (queries, 1)), 10):
            assert vectors.order[top.position].tolist() == list(range(10))


def test_a_batch_and_single_queries_agree_to_the_bit() -> None:
    rng = np.random.default_rng(1)
    values = np.stack([unit_vector(row) for row in rng.standard_normal((20_000, 64))]).astype(np.float32)
    vectors = Vectors(values, np.arange(20_000), np.arange(20_000))
    queries = rng.standard_normal((7, 64)).astype(np.float32)
    for query, top in zip(queries, vectors.top(queries, 50), strict=True):
        alone = vectors.top(query[None], 50)[0]
        assert top.position.tolist() == alone.position.tolist()
        assert top.score.tolist() == alone.score.tolist()
        assert np.array_equal(vectors.scores(query)[top.position], top.score)


def test_no_study_is_allowed() -> None:
    vectors = vectors_of(np.random.default_rng(2), 10, 0, 1)
    for queries in (1, 2):
        assert all(
            len(top.position) == 0
            for top in vectors.top(np.ones((queries, 8), dtype=np.float32), 5, np.zeros(10, dtype=bool))
        )


def test_no_query_gives_no_match() -> None:
    vectors = vectors_of(np.random.default_rng(3), 10, 0, 1)
    assert vectors.top(np.empty((0, 8), dtype=np.float32), 5) == []
