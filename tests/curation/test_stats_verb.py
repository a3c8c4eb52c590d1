"""The verb `stats` writes all that it names: figures with something in them, one page, the reviewers' agreement."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from defective import chest, write
from matplotlib.image import imread

from bimcvr.cli import main
from bimcvr.curation.audit import facts_cache
from bimcvr.data.manifest import read_manifest, write_manifest

FILES = ["figure2.png", "figure3.png", "geometry.png", "labels.png", "statistics.html", "statistics.md", "table1.tex"]
REVIEWS = """study_id,reason,report,decision,corrected,labels,reviewer
a,why,text,accept,,nodule,Ana
a,why,text,accept,,nodule,Ben
b,why,text,reject,,none,Ana
b,why,text,accept,,none,Ben
"""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    for patient in range(2):
        write(tmp_path / f"{patient}.nii.gz", *chest(patient))
    write_manifest(
        pd.DataFrame(
            {
                "study_id": ["a", "b", "c"],
                "volume": ["0.nii.gz", "1.nii.gz", "gone.nii.gz"],
                "source": "phantom",
                "report": [
                    "A nodule in the left lung.",
                    "Effusion in the right pleural space.",
                    "No <script>alert(1)</script> finding.",
                ],
                "labels": ["nodule", "pleural effusion", "<b>normal</b>"],
                "split": ["train", "test", "test"],
            }
        ),
        tmp_path / "manifest.csv",
    )
    return tmp_path / "manifest.csv"


def test_it_writes_all_that_it_names(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cohort.parent / "review.csv").write_text(REVIEWS)
    assert main(["stats", str(cohort), "--review", str(cohort.parent / "review.csv"), "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "phantom" in printed
    assert "1 volumes cannot be read" in printed
    folder = cohort.parent / "statistics"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in ("figure2.png", "figure3.png", "geometry.png", "labels.png"):
        picture = imread(folder / name)
        assert picture.shape[0] > 150
        assert np.unique(picture[..., 0]).size > 10
    # by hand: same answer on one of two; Cohen: chance (1 * 1/2 + 0 * 1/2), so (1/2 - 1/2) / (1/2)
    row = "| decision | 2 | 2 | 50.0 % | −0.33 | 0.00 |"
    assert row in (folder / "statistics.md").read_text()
    assert row in printed


def test_one_phantom_row_does_not_hide_the_patients(cohort: Path) -> None:
    write_manifest(read_manifest(cohort).table.assign(source=["phantom", "", ""]), cohort)
    main(["stats", str(cohort), "--jobs", "1"])
    page = (cohort.parent / "statistics/statistics.html").read_text()
    assert "Keep it where they may be. Part is PHANTOM (synthetic data)" in page
    assert "no patient's" not in page


def test_the_page_holds_what_the_markdown_holds_and_nothing_runs_in_it(cohort: Path) -> None:
    (cohort.parent / "review.csv").write_text(REVIEWS)
    main(["stats", str(cohort), "--review", str(cohort.parent / "review.csv"), "--jobs", "1"])
    page = (cohort.parent / "statistics/statistics.html").read_text()
    assert "PHANTOM (synthetic data)" in page
    assert "<script" not in page
    assert "&lt;b&gt;normal&lt;/b&gt;" in page
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert page.count("data:image/png") == 3
    for text in (
        "Image width",
        "Number of slices",
        "3 volumes with 3 reports",
        "Agreement of reviewers",
        "<td>50.0 %</td>",
    ):
        assert text in page


def test_a_manifest_without_labels_splits_and_reviews(cohort: Path) -> None:
    table = read_manifest(cohort).table[["study_id", "volume", "report"]]
    write_manifest(table, cohort)
    assert main(["stats", str(cohort), "--jobs", "1"]) == 0
    folder = cohort.parent / "statistics"
    assert sorted(path.name for path in folder.iterdir()) == [name for name in FILES if name != "labels.png"]
    page = (folder / "statistics.html").read_text()
    assert "Contains patient data" in page
    assert "Agreement" not in page


def test_after_an_audit_only_what_has_no_geometry_is_read(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["audit", str(cohort), "--jobs", "1"])
    read: list[Path] = []
    original = facts_cache.measure_volume
    monkeypatch.setattr(facts_cache, "measure_volume", lambda path, rules: read.append(path) or original(path, rules))
    assert main(["stats", str(cohort.parent / "audit/manifest.csv"), "--jobs", "1"]) == 0
    assert [path.name for path in read] == ["gone.nii.gz"]


def test_a_queue_that_is_not_there_is_an_error(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(cohort), "--review", "nothing.csv"]) == 1
    assert "no review queue at nothing.csv" in capsys.readouterr().err
