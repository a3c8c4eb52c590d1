"""The ceiling's oracle on cases worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.commands.dataset import phantom
from bimcvr.data.manifest import Manifest
from bimcvr.data.splits import assign_splits
from bimcvr.errors import UserError
from bimcvr.phantom.cohort.studies import manifest_table, plan_patient
from bimcvr.phantom.oracle import report_ceiling
from bimcvr.phantom.reports.findings import PlantedFinding, to_json

SMALL, LARGE = (
    PlantedFinding("pleural effusion", "right", "small"),
    PlantedFinding("pleural effusion", "right", "large"),
)
UNSIZED = PlantedFinding("pleural effusion", "right")
OTHER = PlantedFinding("pleural effusion", "left", "small")


def manifest_of(rows: list[tuple[str, tuple[PlantedFinding, ...], tuple[PlantedFinding, ...]]]) -> Manifest:
    table = pd.DataFrame(
        [
            {
                "study_id": f"s{i}",
                "volume": f"s{i}.nii.gz",
                "report": "x",
                "report_id": report,
                "facts": to_json(told),
                "planted": to_json(true),
            }
            for i, (report, told, true) in enumerate(rows)
        ]
    )
    return Manifest(table, Path("m.csv"), Path())


def test_reports_that_tell_all_apart_reach_100() -> None:
    manifest = manifest_of(
        [("a", (SMALL,), (SMALL,)), ("b", (LARGE,), (LARGE,)), ("c", (OTHER,), (OTHER,)), ("d", (), ())]
    )
    for figures in report_ceiling(manifest, range(4)).values():
        assert figures == {"R@1": 100, "R@5": 100, "R@10": 100, "MdR": 1}


def test_same_facts_are_tied() -> None:
    manifest = manifest_of([("a", (SMALL,), (SMALL,)), ("b", (SMALL,), (SMALL,)), ("c", (OTHER,), (OTHER,))])
    figures = report_ceiling(manifest, range(3))["text_to_image"]
    # two of the three queries have one wrong item tied with the right one: 1/2, 1/2, 1; ranks 1.5, 1.5, 1
    assert figures["R@1"] == pytest.approx(100 * 2 / 3)
    assert figures["R@5"] == 100
    assert figures["MdR"] == 1.5


def test_a_size_left_out_ties_with_all_sizes_one_way_and_misses_none_the_other() -> None:
    manifest = manifest_of([("a", (UNSIZED,), (SMALL,)), ("b", (LARGE,), (LARGE,))])
    figures = report_ceiling(manifest, [0, 1])
    # report a fits both volumes, report b only its own; volume a fits only report a, volume b fits both
    assert figures["text_to_image"]["R@1"] == pytest.approx(75)
    assert figures["image_to_text"]["R@1"] == pytest.approx(75)
    assert figures["text_to_image"]["MdR"] == pytest.approx(1.25)


def test_two_volumes_of_one_report_are_both_right() -> None:
    manifest = manifest_of([("a", (SMALL,), (SMALL,)), ("a", (SMALL,), (SMALL,)), ("b", (SMALL,), (SMALL,))])
    figures = report_ceiling(manifest, range(3))["text_to_image"]
    # a: two right and one wrong tied: 2/3 and rank 4/3, twice; b: one right, two wrong: 1/3 and rank 2
    assert figures["R@1"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 1 / 3) / 3)
    assert figures["MdR"] == pytest.approx(4 / 3)


def test_rows_choose_the_gallery() -> None:
    manifest = manifest_of([("a", (SMALL,), (SMALL,)), ("b", (SMALL,), (SMALL,)), ("c", (OTHER,), (OTHER,))])
    assert report_ceiling(manifest, np.array([1, 2]))["text_to_image"]["R@1"] == 100


def test_a_whole_cohorts_ceiling_is_high_but_not_given() -> None:
    table = manifest_table([study for patient in range(250) for study in plan_patient(8, patient)])
    for figures in report_ceiling(Manifest(table, Path("m.csv"), Path()), range(len(table))).values():
        assert 80 < figures["R@1"] < 100
        assert figures["R@1"] <= figures["R@5"] <= figures["R@10"]


def test_the_printed_ceiling_says_of_which_rows_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`test` may score other rows: those of its own division."""
    table = manifest_table([study for patient in range(30) for study in plan_patient(8, patient)])
    manifest = Manifest(table, Path("m.csv"), Path())
    phantom._print_ceiling(manifest)
    told = capsys.readouterr().out
    count = len(assign_splits(manifest, "patient_hash").rows("test"))
    assert f"Ceiling of the test split (patient_hash, {count} volumes)" in told
    assert "`test` prints that of the rows it scores" in told


def test_a_manifest_without_facts_is_refused() -> None:
    table = pd.DataFrame([{"study_id": "s", "volume": "v", "report": "r"}])
    with pytest.raises(UserError, match="no column 'facts'"):
        report_ceiling(Manifest(table, Path("m.csv"), Path()), [0])
