"""Pairwise differences and the rule of bold, on outcomes made by hand."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bimcvr.benchmark.child import DONE
from bimcvr.benchmark.differences import best_and_significant, differences
from bimcvr.benchmark.scores import Figure, Method
from bimcvr.benchmark.suite import Row
from bimcvr.metrics.compare import compare, holm
from bimcvr.metrics.intervals import bootstrap, quantiles
from bimcvr.metrics.outcomes import summary
from bimcvr.metrics.result import Draws

DRAWS = Draws(0, 500)
PATIENTS = [f"p{number // 2}" for number in range(120)]
WAY = "text_to_image"


def method(name: str, rank: Tensor) -> Method:
    """A method whose queries have these ranks."""
    of = {"R@1": 100 * (rank <= 1).double(), "R@10": 100 * (rank <= 10).double(), "MnR": rank.double()}
    drawn = bootstrap(of, PATIENTS, DRAWS.seed, DRAWS.resamples)
    bounds = quantiles(drawn)
    figures = {figure: Figure(value, None, bounds[figure], drawn[figure]) for figure, value in summary(of).items()}
    return Method(Row(name, name, (Path("a.yaml"),), (2,)), DONE, figures={WAY: figures}, outcomes={WAY: of})


@pytest.fixture
def ranks() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    far = torch.randint(20, 120, (120,), generator=random)
    good = torch.where(torch.arange(120) % 3 > 0, 1, far)
    almost = good.clone()
    almost[0:6] = 25
    return {"far": far, "good": good, "almost": almost}


def test_bold_needs_the_best_to_be_significantly_above_the_second(ranks: dict[str, Tensor]) -> None:
    figures = ("R@1", "R@10", "MdR", "MnR")
    for names, wanted in ((("far", "good"), "good"), (("far", "good", "almost"), None), (("good", "far", "same"), None), (("good",), None)):
        methods = [method(name, ranks["good" if name == "same" else name]) for name in names]
        found = differences(methods, (WAY,), figures, PATIENTS, DRAWS)
        assert len(found) == len(list(combinations(names, 2))) * len(figures)
        for figure in ("R@1", "MnR"):
            rows = [row for row in found if row.figure == figure]
            values = {of.row.name: of.figures[WAY][figure].value for of in methods}
            assert best_and_significant(values, rows, figure) == wanted, (names, figure)


def test_lower_ranks_are_better(ranks: dict[str, Tensor]) -> None:
    found = differences([method(name, ranks[name]) for name in ("far", "good")], (WAY,), ("MdR",), PATIENTS, DRAWS)
    assert best_and_significant({"far": 60.0, "good": 1.0}, found, "MdR") == "good"


def test_a_difference_is_that_of_compare(ranks: dict[str, Tensor]) -> None:
    """Interval and p are those that `evaluate` prints; Holm is over the pairs of a figure."""
    methods = [method(name, of) for name, of in ranks.items()]
    found = differences(methods, (WAY,), ("R@1", "MdR", "MnR"), PATIENTS, DRAWS)
    for row in found:
        one, other = (next(of for of in methods if of.row.name == name) for name in (row.one, row.other))
        wanted = compare(one.outcomes[WAY], other.outcomes[WAY], PATIENTS, DRAWS.seed, DRAWS.resamples)[row.figure]
        assert row.value == wanted["difference"]
        assert row.interval == wanted["interval"]
        assert row.p == wanted["p"]
    for figure in ("R@1", "MdR", "MnR"):
        rows = [row for row in found if row.figure == figure]
        corrected = holm({f"{row.one}{row.other}": row.p for row in rows})
        assert [row.p_holm for row in rows] == list(corrected.values())


def test_a_keyword_s_p_is_its_draws(ranks: dict[str, Tensor]) -> None:
    draws = torch.linspace(0, 1, 500, dtype=torch.float64)

    def keyword(name: str, value: float, drawn: Tensor) -> Method:
        return Method(Row(name, name, (Path("a.yaml"),), (3,)), DONE, figures={"mass": {"P@20": Figure(value, None, [0, 1], drawn)}})

    better, worse = keyword("better", 2.0, draws + 2), keyword("worse", 0.5, draws)
    row, = differences([better, worse], ("mass",), ("P@20",), PATIENTS, DRAWS)
    assert row.p == pytest.approx(2 / 501)
    row, = differences([worse, keyword("same", 0.5, draws)], ("mass",), ("P@20",), PATIENTS, DRAWS)
    assert row.p == 1.0
