"""The rank engine against slow, obvious references."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations
from math import comb, inf, nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bimcvr.errors import UserError
from bimcvr.metrics.ranking import rank_engine as engine
from bimcvr.metrics.ranking.rank_engine import rank_both, rank_queries
from bimcvr.metrics.ranking.ranks import Ranks, chance_ranks

Case = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def equal(one: Ranks, other: Ranks) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


# --- exact reference: vectors of small integers, whose cosines tie exactly or differ by more than 7e-6


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n = draw(st.integers(1, 7))
    width = draw(st.integers(1, 4))
    row = st.lists(st.integers(-2, 2), min_size=width, max_size=width).filter(any)
    table = st.lists(row, min_size=n, max_size=n)
    group = draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    return torch.tensor(draw(table)).float(), torch.tensor(draw(table)).float(), torch.tensor(group)


def signed_square(u: Tensor, v: Tensor) -> Fraction:
    """cos·|cos|, which orders as the cosine does and is rational."""
    dot = int(u @ v)
    return Fraction(dot * abs(dot), int(u @ u) * int(v @ v))


def slow_query(scores: list[Fraction], right: list[bool], ks: range) -> tuple[Fraction, list[Fraction]]:
    """Expected rank of the first right item and P(hit@k), over all places that tied right items can take."""
    best = max(s for s, r in zip(scores, right, strict=True) if r)
    above = sum(s > best for s in scores)
    tied, tied_right = scores.count(best), sum(r and s == best for s, r in zip(scores, right, strict=True))
    first = [above + 1 + min(places) for places in combinations(range(tied), tied_right)]
    return Fraction(sum(first), len(first)), [Fraction(sum(f <= k for f in first), len(first)) for k in ks]


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 8))
def test_equals_fractions(case: Case, tile: int) -> None:
    image, text, group = case
    ks = range(1, len(group) + 1)
    directions = (text, image), (image, text)
    for ranks, (query, gallery) in zip(rank_both(image, text, group, tile), directions, strict=True):
        hits = [ranks.hit_probability(k) for k in ks]
        for i in range(len(group)):
            scores = [signed_square(query[i], item) for item in gallery]
            expected, probabilities = slow_query(scores, (group == group[i]).tolist(), ks)
            assert ranks.expected[i].item() == pytest.approx(float(expected), abs=1e-12)
            found = [hit[i].item() for hit in hits]
            assert found == pytest.approx([float(p) for p in probabilities], abs=1e-12)
            assert ranks.optimistic[i] <= ranks.expected[i] <= ranks.pessimistic[i]


def random_case(random: torch.Generator) -> Case:
    """Small integers in few dimensions: many ties, several right answers."""
    n, width = (int(torch.randint(1, top, (), generator=random)) for top in (7, 4))
    image, text = torch.randint(-2, 3, (2, n, width), generator=random).float()
    for table in (image, text):
        table[~table.any(dim=1)] = 1.0
    return image, text, torch.randint(0, n, (n,), generator=random)


def test_five_thousand_cases_equal_fractions() -> None:
    random = torch.Generator().manual_seed(2026)
    for _ in range(5_000):
        image, text, group = random_case(random)
        tile = int(torch.randint(1, 8, (), generator=random))
        for ranks, (query, gallery) in zip(
            rank_both(image, text, group, tile), ((text, image), (image, text)), strict=True
        ):
            expectations, reciprocals = ranks.expected.tolist(), ranks.reciprocal.tolist()
            probabilities = {k: ranks.hit_probability(k).tolist() for k in {1, 2, len(group)}}
            for i, (q, mine) in enumerate(zip(query, group.tolist(), strict=True)):
                scores = [signed_square(q, item) for item in gallery]
                right = [of == mine for of in group.tolist()]
                best = max(s for s, r in zip(scores, right, strict=True) if r)
                above = sum(s > best for s in scores)
                tied_right = sum(r and s == best for s, r in zip(scores, right, strict=True))
                counts = above, scores.count(best) - tied_right, tied_right
                assert (ranks.above[i].item(), ranks.tied_wrong[i].item(), ranks.tied_right[i].item()) == counts
                expected, hits, reciprocal = from_counts(*counts, len(group))
                assert abs(expectations[i] - expected) < 1e-12
                assert abs(reciprocals[i] - reciprocal) < 1e-12
                assert all(abs(of[i] - hits[k]) < 1e-12 for k, of in probabilities.items())


@cache
def from_counts(above: int, wrong: int, right: int, size: int) -> tuple[Fraction, dict[int, Fraction], Fraction]:
    """Expected rank, P(hit@k) and mean 1 / rank over all places that the tied right items can take."""
    first = [above + 1 + min(places) for places in combinations(range(wrong + right), right)]
    hits = {k: Fraction(sum(place <= k for place in first), len(first)) for k in {1, 2, size}}
    return (
        Fraction(sum(first), len(first)),
        hits,
        sum((Fraction(1, place) for place in first), Fraction(0)) / len(first),
    )


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, 8), st.data())
def test_queries_alone_are_ranked_as_all_together(case: Case, tile: int, data: st.DataObject) -> None:
    image, text, group = case
    some = torch.tensor(data.draw(st.lists(st.integers(0, len(group) - 1), min_size=1, max_size=9)))
    ranks, whole = rank_queries(text[some], image, group[some], group, tile), rank_both(image, text, group)[0]
    assert equal(ranks, Ranks(whole.above[some], whole.tied_wrong[some], whole.tied_right[some]))


def test_a_query_without_a_right_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="no right answer"):
        rank_queries(torch.ones(1, 2), torch.ones(2, 2), torch.tensor([5]), torch.arange(2))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 100))
def test_hit_probability_is_the_formula(a: int, t: int, p: int, k: int) -> None:
    ranks = Ranks(torch.tensor([a]), torch.tensor([t]), torch.tensor([p]))
    if k <= a:
        expected = Fraction(0)
    elif k - a > t:
        expected = Fraction(1)
    else:
        expected = 1 - Fraction(comb(t, k - a), comb(t + p, k - a))
    assert ranks.hit_probability(k).item() == pytest.approx(float(expected), abs=1e-13)


@settings(max_examples=100, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_row_order_moves_ranks_with_their_rows(case: Case, random: object) -> None:
    image, text, group = case
    order = torch.tensor(random.sample(range(len(group)), len(group)))  # type: ignore[attr-defined]
    for plain, shuffled in zip(
        rank_both(image, text, group), rank_both(image[order], text[order], group[order], tile=3), strict=True
    ):
        assert equal(Ranks(plain.above[order], plain.tied_wrong[order], plain.tied_right[order]), shuffled)


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(-100, 100), st.integers(-100, 100))
def test_lengths_do_not_matter(case: Case, one: int, other: int) -> None:
    image, text, group = case
    scaled = rank_both(image * 2.0**one, text * 2.0**other, group)
    assert all(map(equal, rank_both(image, text, group), scaled))


# --- float64 reference: realistic widths, near pairs that float32 cannot decide


def slow_float64(query: Tensor, gallery: Tensor, group: Tensor) -> Ranks:
    q, g = (x.double() / x.double().norm(dim=1, keepdim=True) for x in (query, gallery))
    score = (q[:, None, :] * g[None, :, :]).sum(-1)
    right = group[:, None] == group[None, :]
    best = score.masked_fill(~right, -2).amax(1, keepdim=True)
    tie = (score - best).abs() <= 1e-6
    return Ranks(((score - best > 1e-6) & ~right).sum(1), (tie & ~right).sum(1), (tie & right).sum(1))


def crowd(n: int, spread: float, seed: int) -> Case:
    """Studies whose cosines lie within about `spread` of each other, with copies and groups among them."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 48, generator=random) + spread * torch.randn(n, 48, generator=random)
    text = image + 2 * spread * torch.randn(n, 48, generator=random)
    text[5:9], image[20:24] = text[5], image[20]
    group = torch.arange(n)
    group[torch.randint(n, (n // 10,), generator=random)] = 3
    group[n // 2 : n // 2 + 20] = torch.arange(20) // 2
    return image, text, group


@pytest.mark.parametrize("spread", [1.0, 0.1, 0.01, 0.001, 0.0001])
@pytest.mark.parametrize("tile", [97, 256, 1024])
def test_equals_float64(spread: float, tile: int) -> None:
    image, text, group = crowd(500, spread, seed=7)
    text_to_image, image_to_text = rank_both(image, text, group, tile)
    assert equal(text_to_image, slow_float64(text, image, group))
    assert equal(image_to_text, slow_float64(image, text, group))


@pytest.fixture
def three_threads() -> Iterator[None]:
    """As many as a machine of three cores has."""
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("spread", [1.0, 0.01, 0.0001])
def test_threads_count_the_same(spread: float, three_threads: None) -> None:
    """Also in inference mode, which is each thread's own, and of embeddings with a gradient."""
    image, text, group = crowd(500, spread, seed=7)
    image.requires_grad_()
    with torch.inference_mode():
        inside = rank_both(image * 1, text, group, tile=60)
    outside = rank_both(image, text, group, tile=60)
    wanted = slow_float64(text, image.detach(), group), slow_float64(image.detach(), text, group)
    assert all(map(equal, inside, wanted))
    assert all(map(equal, outside, wanted))
    some = torch.arange(0, 500, 7)
    ranks = rank_queries(text[some], image, group[some], group, 60)
    assert equal(ranks, Ranks(*(counts[some] for counts in vars(wanted[0]).values())))
    assert torch.get_num_threads() == 3


def test_a_mistake_is_told_by_its_thread_and_the_threads_are_back(three_threads: None) -> None:
    image = torch.ones(4, 3)
    with pytest.raises(UserError, match="1 of 4 text embeddings are not finite"):
        rank_both(image, image.index_fill(0, torch.tensor([2]), torch.nan), torch.arange(4))
    assert torch.get_num_threads() == 3


def test_near_pairs_alone_are_decided_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The road of a healthy model: no whole tile in float64, and float32 alone would be wrong."""
    image, text, group = crowd(500, 0.02, seed=1)
    reference = slow_float64(text, image, group)
    monkeypatch.setattr(engine, "DENSE", 1.0)
    assert equal(rank_both(image, text, group)[0], reference)
    monkeypatch.setattr(engine._Tally, "add_open", lambda *_: None)
    assert not equal(rank_both(image, text, group)[0], reference)


def test_a_tie_ends_at_one_millionth() -> None:
    """Wrong items 0.9e-6 and 1.1e-6 above and below the right one: two are tied, one is above, one below."""
    cosine = 0.5 + torch.tensor([0.0, 0.9e-6, 1.1e-6, -0.9e-6, -1.1e-6], dtype=torch.float64)
    image = torch.stack([cosine, (1 - cosine**2).sqrt()], dim=1).float()
    exact = image[:, 0].double() / image.double().norm(dim=1)
    assert ((exact - exact[0])[1:] / 1e-6).tolist() == pytest.approx([0.9, 1.1, -0.9, -1.1], abs=0.09)
    ranks, _ = rank_both(image, torch.tensor([[1.0, 0.0]]).repeat(5, 1), torch.arange(5))
    assert [counts[0].item() for counts in (ranks.above, ranks.tied_wrong, ranks.tied_right)] == [1, 2, 1]


def test_rounding_never_puts_an_item_above_itself() -> None:
    """Own scores from another product than the others' once cost 186 of 512 queries a rank."""
    random = torch.Generator().manual_seed(0)
    image = torch.randn(512, 512, generator=random)
    text = image + torch.randn(512, 512, generator=random)
    for ranks in rank_both(image, text, torch.arange(512)):
        assert ranks.pessimistic.tolist() == [1.0] * 512


def test_half_precision_is_cast_up() -> None:
    image, text, group = crowd(60, 1.0, seed=3)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        rounded = rank_both(image.to(dtype), text.to(dtype), group)
        assert all(map(equal, rounded, rank_both(image.to(dtype).float(), text.to(dtype).float(), group)))


def test_settings_for_training_do_not_reach_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither autocast nor TF32 or bfloat16 products; and the user's settings stand afterwards."""
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("torch 2.8 has one switch for all devices")
    image, text, group = crowd(500, 0.05, seed=5)
    plain = rank_both(image, text, group)
    switches, product, seen = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul), torch.mm, []

    def watched(*args: Tensor, out: Tensor) -> Tensor:
        seen.append([switch.fp32_precision for switch in switches])
        return product(*args, out=out)

    monkeypatch.setattr(torch, "mm", watched)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    chosen = [switch.fp32_precision for switch in switches]
    try:
        with torch.autocast("cpu", torch.bfloat16):
            hurried = rank_both(image, text, group)
        assert [switch.fp32_precision for switch in switches] == chosen
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [["ieee", "ieee"]]
    assert all(map(equal, plain, hurried))


# --- what is known beforehand


def test_worked_by_hand() -> None:
    """Four studies; the reports of 2 and 3 are the same, volumes 1 and 3 are the same."""
    image = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    text = torch.tensor([[0.0, 5.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 2.0]])
    text_to_image, image_to_text = rank_both(image, text, torch.tensor([0, 1, 2, 2]))
    # Report 0: volumes 1 and 3 score 1, its own 0 like volume 2. Report 1: .8 for 1 and 3. Report 2: 1 for 2.
    assert text_to_image.above.tolist() == [2, 0, 0, 0]
    assert text_to_image.tied_wrong.tolist() == [1, 1, 0, 0]
    assert text_to_image.tied_right.tolist() == [1, 1, 1, 1]
    assert text_to_image.expected.tolist() == [3.5, 1.5, 1.0, 1.0]
    # Volume 0: .6 for report 1, 0 for the rest. 1: 1 for report 0, .8 for its own. 2: both of its reports 1.
    # Volume 3: its reports 2 and 3 score 0, report 0 scores 1 and report 1 .8.
    assert image_to_text.above.tolist() == [1, 1, 0, 2]
    assert image_to_text.tied_wrong.tolist() == [2, 0, 0, 0]
    assert image_to_text.tied_right.tolist() == [1, 1, 2, 2]
    assert image_to_text.expected.tolist() == [3.0, 2.0, 1.0, 3.0]
    assert image_to_text.hit_probability(3).tolist() == pytest.approx([2 / 3, 1.0, 1.0, 1.0])


def test_a_collapsed_model_is_at_chance() -> None:
    group = torch.arange(300) // 3
    same = torch.full((300, 20), 0.37)
    for ranks in rank_both(same, same * 5, group, tile=128):
        assert equal(ranks, chance_ranks(group))


def test_one_report_for_all_is_always_found() -> None:
    image, text, _ = crowd(300, 1.0, seed=2)
    for ranks in rank_both(image, text, torch.zeros(300, dtype=torch.long), tile=100):
        assert ranks.pessimistic.tolist() == [1.0] * 300


@pytest.mark.parametrize(
    ("value", "words"),
    [(nan, "not finite"), (inf, "not finite"), (-inf, "not finite"), (0.0, "all zero")],
)
@pytest.mark.parametrize("side", [0, 1])
def test_what_has_no_rank_is_refused(value: float, words: str, side: int) -> None:
    image, text = torch.ones(4, 3), torch.ones(4, 3)
    (image, text)[side][2] = value
    name = ("image", "text")[side]
    with pytest.raises(UserError, match=rf"1 of 4 {name} embeddings are {words} \(row 2\)"):
        rank_both(image, text, torch.arange(4))


def test_integers_are_refused() -> None:
    with pytest.raises(UserError, match=r"int64.*float32"):
        rank_both(torch.ones(2, 2, dtype=torch.long), torch.ones(2, 2), torch.arange(2))


def test_shapes_have_to_match() -> None:
    with pytest.raises(ValueError, match="shapes do not match"):
        rank_both(torch.ones(2, 2), torch.ones(2, 3), torch.arange(2))


def test_embeddings_may_still_want_gradients() -> None:
    image, text, group = crowd(60, 1.0, seed=4)
    plain = rank_both(image, text, group)
    assert all(map(equal, plain, rank_both(image.requires_grad_(), text.requires_grad_(), group)))
