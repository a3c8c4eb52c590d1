"""INSPECT: impressions, mapping and splits of several versions, and the scans that a list names as broken."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bimcvr.curation.sources.inspect_ctpa import Inspect
from bimcvr.curation.sources.published_lists import INSPECT_BROKEN
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError
from curation.sources.conftest import Curated

Writer = Callable[[Path], Path]
IMPRESSIONS = (
    "impression_id\timpressions\n"
    "11\tIMPRESSION: 1. No pulmonary embolism.\n"
    '12\t"Acute pulmonary embolism, right lower lobe.\nEffusion."\n'
    "13\tChronic embolism.\n"
    "14\t\n"
)
MAPPING = (
    "person_id\timage_id\timpression_id\tprocedure_DATETIME\n"
    "900\tPEa0001\t11\t2018-03-04\n"
    "901\tPEa0002\t12\t2018-03-04\n"
    "901\tPEa0003\t12\t2018-03-04\n"
    "902\tPE877f77\t13\t2018-03-04\n"
    "903\tPEa0004\t14\t2018-03-04\n"
)
SPLITS = "impression_id\tsplit\n11\ttrain\n12\tvalid\n13\ttest\n14\ttest\n"


@pytest.fixture
def root(tmp_path: Path, volume: Writer) -> Path:
    root = tmp_path / "inspect/full"
    for name in ("PEa0001", "PEa0002", "PEa0003", "PE877f77", "PEa0004"):
        volume(root / f"CTPA/{name}.nii.gz")
    (root / "impressions_20250611.tsv").write_text(IMPRESSIONS)
    (root / "study_mapping_20250611.tsv").write_text(MAPPING)
    (root / "splits_20250611.tsv").write_text(SPLITS)
    return root


def reasons(root: Path) -> dict[str, str]:
    return {item.name: item.reason for item in Inspect(str(root)).studies() if isinstance(item, SetAside)}


def studies(root: Path) -> dict[str, SourceStudy]:
    return {item.study_id: item for item in Inspect(str(root)).studies() if isinstance(item, SourceStudy)}


def test_the_manifest(root: Path, curate: Callable[..., Curated]) -> None:
    done = curate("Inspect", root, "--assign_splits.strategy", "column")
    assert {name: row["report"] for name, row in done.rows.items()} == {
        "PEa0001": "1. No pulmonary embolism.",
        "PEa0002": "Acute pulmonary embolism, right lower lobe.\nEffusion.",
        "PEa0003": "Acute pulmonary embolism, right lower lobe.\nEffusion.",
    }
    assert {name: (row["patient_id"], row["report_id"], row["split"]) for name, row in done.rows.items()} == {
        "PEa0001": ("900", "11", "train"),
        "PEa0002": ("901", "12", "val"),
        "PEa0003": ("901", "12", "val"),
    }
    assert (done.code, done.aside) == (3, {"PE877f77": "listed_broken", "PEa0004": "no_report"})
    # the date of the examination is no column
    assert "2018" not in (done.out / "manifest.csv").read_text()


def test_the_shipped_file(root: Path, curate_shipped: Callable[[str, Path], Curated]) -> None:
    rows = curate_shipped("inspect", root).rows
    assert {name: (row["status"], row["split"], row["labels"]) for name, row in rows.items()} == {
        "PEa0001": ("ok", "train", "normal"),
        "PEa0002": ("ok", "val", "pleural effusion;pulmonary embolism"),
        "PEa0003": ("ok", "val", "pleural effusion;pulmonary embolism"),
    }


def test_a_scan_with_four_axes_is_refused_with_and_without_the_list(root: Path, curate: Callable[..., Curated]) -> None:
    four = nibabel.Nifti1Image(np.zeros((5, 4, 3, 2), dtype=np.int16), np.diag([0.7, 0.7, 2.5, 1]))
    four.set_sform(four.affine, code=1)
    flat = nibabel.Nifti1Image(np.zeros((5, 4, 3), dtype=np.int16), np.diag([0.7, 0.7, 2.5, 1]))
    flat.set_sform(np.diag([0.7, 0, 2.5, 1]), code=1)
    flat.set_qform(None, code=0)
    for name, image in (("PE877f77", four), ("PEa0001", four), ("PEa0002", flat)):
        nibabel.save(image, root / f"CTPA/{name}.nii.gz")
    done = curate("Inspect", root, "--source.keep_listed", "true")
    assert done.aside == {
        "PE877f77": "not_a_volume",
        "PEa0001": "not_a_volume",
        "PEa0002": "no_orientation",
        "PEa0004": "no_report",
    }
    assert (done.rows["PE877f77"]["status"], done.rows["PE877f77"]["listed"]) == ("rejected", "listed_broken")


def test_the_list_has_13_scans_with_four_axes_and_7_without_orientation() -> None:
    problems = [listing.problem for listing in INSPECT_BROKEN.values()]
    assert (sum("four axes" in problem for problem in problems), len(problems)) == (13, 20)


def test_the_newest_version_is_read_and_the_others_are_named(root: Path) -> None:
    (root / "impressions_20250418.tsv").write_text(IMPRESSIONS.replace("No pulmonary", "Old pulmonary"))
    (root / "copy").mkdir()
    (root / "copy/impressions_20250611.tsv").write_text(IMPRESSIONS.replace("No pulmonary", "Copied pulmonary"))
    (root / "splits_20260101.tsv").write_text(SPLITS.replace("train", "test"))
    found = studies(root)["PEa0001"]
    assert (found.columns["archive_split"], reasons(root)) == (
        "test",
        {
            "impressions_20250418.tsv": "superseded",
            "impressions_20250611.tsv": "superseded",
            "splits_20250611.tsv": "superseded",
            "PE877f77": "listed_broken",
            "PEa0004": "no_report",
        },
    )
    # of two copies the one that is less deep
    assert found.report == "1. No pulmonary embolism."


def test_tables_without_splits_and_rows_that_match_nothing(root: Path, volume: Writer) -> None:
    (root / "splits_20250611.tsv").unlink()
    volume(root / "CTPA/PEnew.nii.gz")
    volume(root / "more/PEa0001.nii.gz")
    (root / "CTPA/PEa0003.nii.gz").unlink()
    with (root / "study_mapping_20250611.tsv").open("a") as stream:
        stream.write("904\tPEa0001\t13\t\n905\t\t13\t\n")
    (root / "impressions_20250611.tsv").write_text(IMPRESSIONS.replace("14\t\n", "11\tAgain.\n"))
    assert reasons(root) == {
        "study_mapping_20250611.tsv: line 7": "duplicate_row",
        "study_mapping_20250611.tsv: line 8": "no_key",
        "impressions_20250611.tsv: line 6": "duplicate_row",
        "PEa0003": "missing_file",
        "PEa0004": "no_row",
        "PEnew": "no_row",
        "more/PEa0001.nii.gz": "ambiguous_name",
        "PE877f77": "listed_broken",
    }
    assert studies(root)["PEa0001"].columns == {}


def test_missing_tables_and_columns_are_errors(root: Path) -> None:
    (root / "impressions_20250611.tsv").write_text("impression_id\ttext\n11\tsecret\n")
    with pytest.raises(UserError, match="has no column impressions; it has impression_id, text"):
        list(Inspect(str(root)).studies())
    (root / "impressions_20250611.tsv").unlink()
    with pytest.raises(UserError, match=r"has no table impressions_DATE\.tsv"):
        list(Inspect(str(root)).studies())
    with pytest.raises(UserError, match="There is no folder"):
        Inspect(str(root / "none"))


def test_an_empty_table_is_set_aside(root: Path) -> None:
    (root / "impressions_20250611.tsv").write_text("")
    assert reasons(root)["impressions_20250611.tsv"] == "unreadable_table"
