"""Pairwise differences and the rule of bold, on outcomes made by hand."""

import csv
import io
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bimcvr.evaluation.result import Resampling
from bimcvr.metrics.bootstrap import bootstrap_draws, patient_draws, quantiles
from bimcvr.metrics.per_query import average_over_seeds, summarize
from bimcvr.metrics.significance import compare_methods, holm
from bimcvr.suites.differences import best_and_significant, differences
from bimcvr.suites.paper_tables import difference_table
from bimcvr.suites.run_process import DONE
from bimcvr.suites.scores import Estimate, RowResult
from bimcvr.suites.suite import SuiteRow
from bimcvr.suites.tables.table_formats import as_csv, as_markdown

RESAMPLING = Resampling(0, 500)
PATIENTS = [f"p{number // 2}" for number in range(120)]
DIRECTION = "text_to_image"


def method(name: str, *ranks: Tensor) -> RowResult:
    """A method whose queries have these ranks, in each of its seeds."""
    of = average_over_seeds(
        [
            {"R@1": 100 * (rank <= 1).double(), "R@10": 100 * (rank <= 10).double(), "MnR": rank.double()}
            for rank in ranks
        ]
    )
    drawn = bootstrap_draws(of, PATIENTS, RESAMPLING.seed, RESAMPLING.resamples)
    bounds = quantiles(drawn)
    figures = {figure: Estimate(value, None, bounds[figure], drawn[figure]) for figure, value in summarize(of).items()}
    return RowResult(
        SuiteRow(name=name, title=name, files=(Path("a.yaml"),), tables=(2,)),
        DONE,
        figures={DIRECTION: figures},
        per_query={DIRECTION: of},
    )


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
    for names, wanted in (
        (("far", "good"), "good"),
        (("far", "good", "almost"), None),
        (("good", "far", "same"), None),
        (("good",), None),
    ):
        methods = [method(name, ranks["good" if name == "same" else name]) for name in names]
        found = differences(methods, (DIRECTION,), figures, PATIENTS, RESAMPLING)
        assert len(found) == len(list(combinations(names, 2))) * len(figures)
        for figure in ("R@1", "MnR"):
            rows = [row for row in found if row.figure == figure]
            values = {of.row.name: of.figures[DIRECTION][figure].value for of in methods}
            assert best_and_significant(values, rows, figure) == wanted, (names, figure)


def test_lower_ranks_are_better(ranks: dict[str, Tensor]) -> None:
    found = differences(
        [method(name, ranks[name]) for name in ("far", "good")], (DIRECTION,), ("MdR",), PATIENTS, RESAMPLING
    )
    assert best_and_significant({"far": 60.0, "good": 1.0}, found, "MdR") == "good"


def test_a_difference_is_that_of_compare(ranks: dict[str, Tensor]) -> None:
    """Interval and p are those that `evaluate` prints; Holm is over the pairs of a figure."""
    methods = [method(name, of) for name, of in ranks.items()]
    found = differences(methods, (DIRECTION,), ("R@1", "MdR", "MnR"), PATIENTS, RESAMPLING)
    for row in found:
        one, other = (next(of for of in methods if of.row.name == name) for name in (row.one, row.other))
        wanted = compare_methods(
            one.per_query[DIRECTION], other.per_query[DIRECTION], PATIENTS, RESAMPLING.seed, RESAMPLING.resamples
        )[row.figure]
        assert row.value == wanted["difference"]
        assert row.interval == wanted["interval"]
        assert row.p == wanted["p"]
    for figure in ("R@1", "MdR", "MnR"):
        rows = [row for row in found if row.figure == figure]
        corrected = holm({f"{row.one}{row.other}": row.p for row in rows})
        assert [row.p_holm for row in rows] == list(corrected.values())


def test_a_ratio_is_that_of_a_naive_loop() -> None:
    """Mean over seeds first, then each draw's sums divided; both ways round, and where some draws have no ratio."""
    random = torch.Generator().manual_seed(1)
    many, other = (torch.randint(1, high, (120,), generator=random) for high in (40, 20))
    few = torch.full((120,), 30)
    few[[3, 50, 51, 90]] = 1
    one, two = method("one", many, other), method("two", few, torch.full((120,), 15))
    (row,) = differences([one, two], (DIRECTION,), ("R@10",), PATIENTS, RESAMPLING)
    hits, hits_of_two = (
        [sum(float(rank[query] <= 10) for rank in ranks) / 2 for query in range(120)]
        for ranks in ((many, other), (few, torch.full((120,), 15)))
    )
    ratios, inverses, zeros = [], [], 0
    for times in np.concatenate([chunk.numpy() for chunk in patient_draws(60, RESAMPLING.seed, RESAMPLING.resamples)]):
        # PATIENTS in the order of their ids' letters
        weight = dict(zip(sorted(set(PATIENTS)), times.tolist(), strict=True))
        over = sum(weight[patient] * hit for patient, hit in zip(PATIENTS, hits, strict=True))
        under = sum(weight[patient] * hit for patient, hit in zip(PATIENTS, hits_of_two, strict=True))
        zeros += under == 0
        ratios.append(over / under if under else float("inf"))
        inverses.append(under / over)
    assert row.ratio
    assert row.inverse
    assert row.ratio.value == pytest.approx(sum(hits) / sum(hits_of_two))
    assert row.inverse.value == pytest.approx(sum(hits_of_two) / sum(hits))
    assert row.ratio.zero_draws == zeros > 0.025 * RESAMPLING.resamples
    assert row.ratio.low == pytest.approx(np.percentile(sorted(ratios), 2.5))
    assert row.ratio.high == float("inf"), "open upwards"
    assert [row.inverse.low, row.inverse.high] == pytest.approx(np.percentile(inverses, [2.5, 97.5]))
    assert row.inverse.zero_draws == 0


def test_ratios_are_printed_with_open_ends_and_counts(ranks: dict[str, Tensor]) -> None:
    never = torch.full((120,), 50)
    methods = [method("good", ranks["good"]), method("never", never)]
    found = differences(methods, (DIRECTION,), ("R@1", "MnR"), PATIENTS, RESAMPLING)
    recall, mean_rank = csv.DictReader(
        io.StringIO(as_csv(difference_table(2, found, {"good": "Good", "never": "Never"}, "phantoms")))
    )
    assert (recall["ratio"], recall["ratio low"], recall["ratio high"], recall["draws with second 0"]) == (
        "–",
        "",
        "",
        "500",
    )
    assert (recall["inverse ratio"], recall["inverse ratio low"], recall["inverse ratio high"]) == (
        "0.00",
        "0.00",
        "0.00",
    )
    assert recall["draws with first 0"] == "0"
    assert not mean_rank["ratio"], "of R@K alone"
    assert not mean_rank["draws with second 0"]
    text = as_markdown(difference_table(2, found, {"good": "Good", "never": "Never"}, "phantoms"))
    assert not re.search(r"\b(inf|nan)\b", text, re.IGNORECASE)


def test_a_keyword_s_p_is_its_draws(ranks: dict[str, Tensor]) -> None:
    resampling = torch.linspace(0, 1, 500, dtype=torch.float64)

    def keyword(name: str, value: float, drawn: Tensor) -> RowResult:
        return RowResult(
            SuiteRow(name=name, title=name, files=(Path("a.yaml"),), tables=(3,)),
            DONE,
            figures={"mass": {"P@20": Estimate(value, None, [0, 1], drawn)}},
        )

    better, worse = keyword("better", 2.0, resampling + 2), keyword("worse", 0.5, resampling)
    (row,) = differences([better, worse], ("mass",), ("P@20",), PATIENTS, RESAMPLING)
    assert row.p == pytest.approx(2 / 501)
    (row,) = differences([worse, keyword("same", 0.5, resampling)], ("mass",), ("P@20",), PATIENTS, RESAMPLING)
    assert row.p == 1.0
