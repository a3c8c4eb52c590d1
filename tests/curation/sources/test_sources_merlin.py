"""Merlin's dataset: one text divided into findings and impression, read from a workbook."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bimcvr.curation.sources.merlin import Merlin
from bimcvr.curation.sources.report_sections import Sections, split_report
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError
from curation.sources.conftest import Curated

openpyxl = pytest.importorskip("openpyxl", reason="the extra xlsx is not installed")
Writer = Callable[[Path], Path]
ROWS = (
    ("study id", "Findings", "Split", "Few Shot"),
    ("AC4210001", "FINDINGS: Liver: normal.\nIMPRESSION: 1. No acute abnormality.", "train", 0),
    ("AC4210002", "Liver has a cyst of 1.5 cm.\n1. Hepatic cyst.\n2. Small hernia.", "val", 1),
    ("AC4210003", "Liver and spleen are normal without any boundary.", "test", 0),
    ("AC4210004", None, "train", 0),
)


def write(root: Path, rows: tuple[tuple[object, ...], ...] = ROWS) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(root / "reports_final.xlsx")


@pytest.fixture
def root(tmp_path: Path, volume: Writer) -> Path:
    root = tmp_path / "merlinabdominalctdataset"
    for number in (1, 2, 3, 4):
        volume(root / f"merlin_data/AC421000{number}.nii.gz")
    write(root)
    return root


def read(root: Path, **options: str) -> tuple[dict[str, SourceStudy], dict[str, str]]:
    found = list(Merlin(str(root), **options).studies())  # type: ignore[arg-type]
    studies = {item.study_id: item for item in found if isinstance(item, SourceStudy)}
    return studies, {item.name: item.reason for item in found if isinstance(item, SetAside)}


def test_the_manifest(root: Path, curate: Callable[..., Curated]) -> None:
    done = curate("Merlin", root, "--assign_splits.strategy", "column")
    assert {name: (row["report"], row["sections_by"], row["split"]) for name, row in done.rows.items()} == {
        "AC4210001": ("Liver: normal.\n1. No acute abnormality.", "heading", "train"),
        "AC4210002": ("Liver has a cyst of 1.5 cm.\n1. Hepatic cyst.\n2. Small hernia.", "numbers", "val"),
        "AC4210003": ("Liver and spleen are normal without any boundary.", "none", "test"),
        "AC4210004": ("", "none", "train"),
    }
    assert (done.code, done.aside) == (3, {"AC4210003": "unsplit_report"})


def test_the_shipped_file(root: Path, curate_shipped: Callable[[str, Path], Curated]) -> None:
    rows = curate_shipped("merlin", root).rows
    assert {name: (row["status"], row["split"], row["source"]) for name, row in rows.items()} == {
        "AC4210001": ("ok", "train", "Merlin"),
        "AC4210002": ("ok", "val", "Merlin"),
        "AC4210003": ("ok", "test", "Merlin"),
        "AC4210004": ("rejected", "", "Merlin"),
    }


def test_one_section_only(root: Path) -> None:
    impressions, aside = read(root, sections="impression")
    assert {name: study.report for name, study in impressions.items()} == {
        "AC4210001": "1. No acute abnormality.",
        "AC4210002": "1. Hepatic cyst.\n2. Small hernia.",
        "AC4210004": "",
    }
    assert aside == {"AC4210003": "unsplit_report"}
    assert read(root, sections="findings")[0]["AC4210002"].report == "Liver has a cyst of 1.5 cm."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A. IMPRESSION: B.", Sections("A.", "B.", "heading")),
        ("A.\r\nIMPRESSIONS :\nB.", Sections("A.", "B.", "heading")),
        ("Findings: A.\n  Impression: B.", Sections("A.", "B.", "heading")),
        ("A.   Impression: B.", Sections("A.", "B.", "heading")),
        ("A. Impression: B.", Sections("A.", "B.", "heading")),
        ("IMPRESSION: B.", Sections("", "B.", "heading")),
        ("A. IMPRESSION: B. IMPRESSION: C.", Sections("A.", "B. IMPRESSION: C.", "heading")),
        # no heading of a section
        ("Clinical impression: A. B.", Sections("Clinical impression: A. B.", "", "none")),
        ("No impression of the wall.", Sections("No impression of the wall.", "", "none")),
        # conclusions after a line break, or the run of blanks that it became
        ("A.\n1.  B.\n2.  C.", Sections("A.", "1.  B.\n2.  C.", "numbers")),
        ("A.    1. B.    2. C.", Sections("A.", "1. B.    2. C.", "numbers")),
        ("A.\n1, B.\n2, C.", Sections("A.", "1, B.\n2, C.", "numbers")),
        # the last list that begins with 1
        ("A.\n1. B.\n2. C.\nD.\n1. E.\n2. F.", Sections("A.\n1. B.\n2. C.\nD.", "1. E.\n2. F.", "numbers")),
        # a single conclusion stands near the end
        ("A long text of findings, of many words.\n1. B.", None),
        ("A.\n1. B is followed by many more words, and by no second item at all.", Sections),
        # a numbered text has nothing before its list; sizes and images are no items
        ("1. A.\n2. B.", Sections("1. A.\n2. B.", "", "none")),
        ("A cyst of\n1. 5 cm.", Sections("A cyst of\n1. 5 cm.", "", "none")),
        ("Series 3, image 1. A. 2. B.", Sections("Series 3, image 1. A. 2. B.", "", "none")),
        ("", Sections("", "", "none")),
    ],
)
def test_reports_are_divided(text: str, expected: Sections | type | None) -> None:
    if expected is None:
        expected = Sections("A long text of findings, of many words.", "1. B.", "numbers")
    elif expected is Sections:
        expected = Sections(text, "", "none")
    assert split_report(text) == expected


def test_rows_and_volumes_that_do_not_match(root: Path, volume: Writer) -> None:
    volume(root / "merlin_data/AC4210009.nii.gz")
    volume(root / "other/AC4210001.nii.gz")
    (root / "merlin_data/AC4210002.nii.gz").unlink()
    write(root, (*ROWS, ("AC4210001", "Another report.", "test", 0), (None, "No id.", "test", 0)))
    assert read(root)[1] == {
        "AC4210002": "missing_file",
        "AC4210003": "unsplit_report",
        "AC4210009": "no_row",
        "other/AC4210001.nii.gz": "ambiguous_name",
        "reports_final.xlsx: line 6": "duplicate_row",
        "reports_final.xlsx: line 7": "no_key",
    }


def test_a_table_without_its_columns_is_an_error(root: Path) -> None:
    write(root, (("study", "Findings", "Split"), ("AC4210001", "secret", "train")))
    with pytest.raises(UserError, match=r"has no column study id; it has study, Findings, Split\."):
        read(root)


def test_a_truncated_table_ends_with_one_message(
    root: Path, curate: Callable[..., Curated], capsys: pytest.CaptureFixture[str]
) -> None:
    table = root / "reports_final.xlsx"
    table.write_bytes(table.read_bytes()[:-200])
    done = curate("Merlin", root)
    assert done.code == 1
    assert "no usable study" in capsys.readouterr().err
    assert done.aside["reports_final.xlsx"] == "unreadable_table"


def test_the_same_table_as_csv(root: Path) -> None:
    (root / "reports.csv").write_text("study id,Findings,Split\nAC4210001,A. IMPRESSION: B.,train\n")
    assert read(root, table="reports.csv")[0]["AC4210001"].report == "A.\nB."


def test_a_wrong_folder_is_an_error(root: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        Merlin(str(root / "none"))
    with pytest.raises(UserError, match="There is no table"):
        Merlin(str(root / "merlin_data"))
