"""The text samplers: what they draw, that a seed repeats it, and that nothing is favoured."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.data.text.samplers import ContiguousSampler, HeadSampler, RandomWordsSampler

REPORTS = st.lists(st.text("abcXYZ0123.,", min_size=1, max_size=8), min_size=1, max_size=60).map(" ".join)
SIZES = st.integers(1, 70)
Sampler = Callable[[str, torch.Generator], str]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(REPORTS, SIZES, st.integers(0, 2**31))
def test_contiguous_is_a_segment_of_that_length(report: str, words: int, seed: int) -> None:
    drawn = ContiguousSampler(words)(report, seeded(seed)).split()
    whole = report.split()
    assert len(drawn) == min(words, len(whole))
    assert any(whole[start : start + len(drawn)] == drawn for start in range(len(whole)))


@given(REPORTS, SIZES, st.integers(0, 2**31))
def test_random_words_are_a_subsequence_without_replacement(report: str, words: int, seed: int) -> None:
    drawn = RandomWordsSampler(words)(report, seeded(seed)).split()
    rest = iter(report.split())
    assert len(drawn) == min(words, len(report.split()))
    assert all(word in rest for word in drawn)  # consumes `rest`: order and multiplicity are kept


@given(REPORTS)
def test_head_is_the_whole_report(report: str) -> None:
    assert HeadSampler()(report, seeded(0)) == report


@pytest.mark.parametrize("sampler", [ContiguousSampler(7), RandomWordsSampler(7)])
def test_a_seed_repeats_and_another_differs(sampler: Sampler) -> None:
    report = " ".join(f"w{place}" for place in range(200))
    assert sampler(report, seeded(3)) == sampler(report, seeded(3))
    assert len({sampler(report, seeded(seed)) for seed in range(20)}) > 10


def test_a_short_report_is_left_as_it_is() -> None:
    report = "No\n effusion."
    assert ContiguousSampler(100)(report, seeded(0)) == report
    assert RandomWordsSampler(64)(report, seeded(0)) == report


def test_every_start_is_equally_likely() -> None:
    generator = seeded(0)
    report = " ".join(str(place) for place in range(10))
    starts = Counter(ContiguousSampler(6)(report, generator).split()[0] for _ in range(5000))
    assert sorted(starts) == ["0", "1", "2", "3", "4"]  # the last start that fits is drawn too
    assert all(abs(count - 1000) < 130 for count in starts.values())  # 4.6 standard deviations


def test_every_word_is_equally_likely() -> None:
    generator = seeded(0)
    report = " ".join(str(place) for place in range(10))
    words = Counter(word for _ in range(5000) for word in RandomWordsSampler(4)(report, generator).split())
    assert all(abs(words[str(place)] - 2000) < 160 for place in range(10))  # 4.6 standard deviations


@pytest.mark.parametrize("kind", [ContiguousSampler, RandomWordsSampler])
def test_no_words_at_all_are_refused(kind: type[ContiguousSampler] | type[RandomWordsSampler]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        kind(0)
