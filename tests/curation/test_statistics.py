"""Table 1 and the figures: against numbers counted by hand, and never silent about synthetic data."""

from pathlib import Path

import pandas as pd
import pytest

from bimcvr.curation.review.agreement import Agreement
from bimcvr.curation.statistics.figures import choose_samples, draw_cloud
from bimcvr.curation.statistics.tables import as_latex, as_markdown, geometry_of_rows, statistics_of
from bimcvr.data.manifest import Manifest

GEOMETRY = [(512, 512, 100), (512, 520, 300), (700, 512, 200), None, (64, 64, 64)]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Four accepted rows of three patients with three reports, the last volume unread; one row is rejected."""
    for name, size in (("a", 1000), ("b", 500), ("e", 9000)):
        (tmp_path / f"{name}.nii").write_bytes(b"x" * size)
    table = pd.DataFrame(
        {
            "study_id": list("abcde"),
            "volume": [f"{name}.nii" for name in "abcde"],
            "report": [
                "The nodule grows, the nodule.",
                "The nodule grows, the nodule.",
                "No nodule of 6 mm seen",
                "Effusion",
                "nodule nodule",
            ],
            "patient_id": ["p", "p", "q", "r", "s"],
            "report_id": ["r1", "r1", "r2", "r3", "r4"],
            "labels": ["nodule; mass", "nodule", "normal", "effusion", "rejected label"],
            "split": ["train", "train", "val", "test", "train"],
            "status": ["ok", "", "ok", "", "rejected"],
        }
    )
    return Manifest(table, tmp_path / "m.csv", tmp_path)


def test_the_numbers_are_those_counted_by_hand(manifest: Manifest) -> None:
    numbers = statistics_of(manifest, GEOMETRY)
    assert (numbers.volumes, numbers.reports, numbers.patients, numbers.slices, numbers.diseases) == (4, 3, 3, 600, 3)
    assert (numbers.not_accepted, numbers.unread, numbers.phantom) == (1, 1, False)
    assert numbers.gigabytes == pytest.approx(1500 / 1e9)
    assert [(line.mean, line.median, line.low, line.high) for line in numbers.table] == [
        (pytest.approx(1724 / 3), 512, 512, 700),
        (pytest.approx(1544 / 3), 512, 512, 520),
        (200, 200, 100, 300),
        (pytest.approx((5 + 5 + 6 + 1) / 4), 5, 1, 6),
    ]
    # one report of two volumes counts once; numbers and words of grammar do not count
    assert dict(numbers.words) == {"nodule": 3, "grows": 1, "mm": 1, "effusion": 1}
    assert numbers.splits == {"train": (2, 1), "val": (1, 1), "test": (1, 1)}
    first = numbers.labels[0]
    assert (first.label, first.volumes, first.share, first.share_by_split) == (
        "nodule",
        2,
        0.5,
        {"train": 1.0, "val": 0.0, "test": 0.0},
    )


def test_the_text_has_the_paper_s_form(manifest: Manifest) -> None:
    numbers = statistics_of(manifest, GEOMETRY)
    text = as_markdown(numbers, agreement=[Agreement("decision", 8, 2, 0.875, 0.8123, None)])
    assert "| Image width | 574.7 | 512 | 512 ~ 700 |" in text
    assert "4 volumes with 3 reports, 3 patients, 600 slices" in text
    assert "1 further rows are rejected or in review" in text
    assert "| decision | 8 | 2 | 87.5 % | 0.81 | – |" in text
    assert "hantom" not in text
    assert "Image width & 574.7 & 512 & 512 $\\sim$ 700 \\\\" in as_latex(numbers)
    phantom = statistics_of(manifest.with_column("source", ["phantom"] * 5), GEOMETRY)
    assert "phantom" in as_markdown(phantom)
    assert "Phantom" in as_latex(phantom)
    assert "no patient's" in as_markdown(phantom)
    mixed = statistics_of(manifest.with_column("source", ["phantom", *[""] * 4]), GEOMETRY)
    assert as_markdown(mixed).startswith("# Statistics of **phantoms** (synthetic data) and patients\n")
    assert "Phantoms (synthetic data) and patients." in as_latex(mixed)


def test_samples_are_of_different_patients_and_accepted(manifest: Manifest) -> None:
    chosen = choose_samples(manifest, 10)
    assert chosen[0] == 0
    assert sorted(chosen) == [0, 2, 3]


def test_geometry_comes_from_the_columns_where_they_are_filled(manifest: Manifest) -> None:
    columns = {"width": ["1", "2", "3", "4", "5"], "height": ["6"] * 5, "slices": ["7"] * 5}
    table = manifest.table.assign(**columns)
    assert geometry_of_rows(Manifest(table, manifest.path, manifest.root))[1] == (2, 6, 7)


def test_words_of_a_cloud_do_not_overlap() -> None:
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    draw_cloud(axis, [(f"word{number}", 100 // number) for number in range(1, 60)])
    boxes = [patch.get_path().get_extents() for patch in axis.patches]
    assert len(boxes) > 30
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            assert box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
    heights = [box.height for box in boxes]
    assert heights[0] > 1.5 * heights[-1]
