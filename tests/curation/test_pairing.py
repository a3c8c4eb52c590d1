"""`make-manifest` and `label`: from a folder of volumes and a table of reports to a manifest with labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main
from bimcvr.curation import label_manifest, with_labels
from bimcvr.data.manifest import read_manifest


def volume(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4, 4), dtype=np.int16)), str(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Volumes named by file, by folder, as DICOM slices, twice for one id, and one of nobody."""
    for name in ("a1.nii.gz", "site/a2.mha", "a3/scan.nrrd", "a4/x.nii.gz", "a4/y.nii.gz", "stray.nii.gz"):
        volume(tmp_path / "scans" / name)
    series = tmp_path / "scans/a5/1"
    series.mkdir(parents=True)
    (series / "001.dcm").write_bytes(b"\0" * 128 + b"DICM")
    return tmp_path / "scans"


def reports(folder: Path, **more: list[str]) -> Path:
    path = folder.parent / "reports.csv"
    table = {
        "Accession": ["a1.nii.gz", "a2", "a3", "a4", "a5", "a6", "a7", "a7"],
        "findings": ["There is a nodule.", "No nodule.", "Emphysema.", "Cardiomegaly.", "Normal.", "x", "y", "z"],
        "impression": ["Nodule.", "", "", "", "", "", "", ""],
        "sex": list("FMFMFMFM"),
    }
    pd.DataFrame(table | more).to_csv(path, index=False)
    return path


def test_volumes_are_paired_by_file_and_by_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "made/manifest.csv"
    words = ["make-manifest", str(folder), str(reports(folder)), "--out", str(out)]
    assert main([*words, "--report_columns", "[findings, impression]"]) == 3
    manifest = read_manifest(out)
    assert manifest.column("study_id") == ["a1", "a2", "a3", "a4_a4_x", "a4_a4_y", "a5"]
    assert all(manifest.volume_path(row).exists() for row in range(len(manifest)))
    assert manifest.volume_path(5).name == "1"
    assert manifest.column("report")[0] == "There is a nodule.\nNodule."
    assert manifest.column("report_id") == ["", "", "", "a4", "a4", ""]
    assert manifest.column("sex")[1] == "M"
    told = capsys.readouterr().out
    assert "6 volumes with reports, by the column Accession" in told
    listed = pd.read_csv(out.with_name("manifest-unmatched.csv"))
    assert dict(zip(listed["item"], listed["reason"], strict=True)) == {
        "stray.nii.gz": "no_report",
        "a6": "no_volume",
        "a7": "duplicate_id",
    }


def test_a_pattern_names_the_id(folder: Path) -> None:
    """Two scans of one id beside other files: `a4` by its folder alone."""
    out = folder.parent / "m.csv"
    words = ["make-manifest", str(folder), str(reports(folder)), "--out", str(out), "--pattern", "^(a4)/x"]
    assert main(words) == 3
    assert read_manifest(out).column("study_id") == ["a4"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--id_column", "Acession"], "no column 'Acession'; it has Accession"),
        (["--report_columns", "reprot"], "no column 'reprot'"),
        (["--pattern", "a[0-9]+"], "has no group"),
        (["--pattern", "(a"], "is no regular expression"),
        (["--pattern", "(b)"], "No volume of"),
        (["--out", "{reports}"], "is the table of the reports itself"),
    ],
)
def test_what_cannot_be_paired_is_one_message(
    words: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = reports(folder)
    out = ["--out", str(folder.parent / "m.csv")]
    given = [word.format(reports=table) if "{reports}" in word else word for word in words]
    assert main(["make-manifest", str(folder), str(table), *out, *given]) == 1
    assert told in capsys.readouterr().err
    assert not (folder.parent / "m.csv").exists()


def test_a_manifest_gets_the_labels_that_curate_would_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {
        "study_id": ["s1", "s2", "s3"],
        "volume": ["a", "b", "c"],
        "report": ["Small nodule. No pleural effusion.", "Sin derrame pleural.", "Emphysema."],
        "labels": ["", "", "by hand"],
    }
    pd.DataFrame(table).to_csv(tmp_path / "m.csv", index=False)
    assert main(["label", str(tmp_path / "m.csv")]) == 0
    labelled = read_manifest(tmp_path / "m-labelled.csv")
    assert labelled.column("labels") == ["nodule", "normal", "by hand"]
    assert labelled.column("labels_source") == ["keywords", "keywords", ""]
    assert "3 of 3 rows have labels" in capsys.readouterr().out
    assert label_manifest(read_manifest(tmp_path / "m.csv"), replace=True).column("labels")[2] == "emphysema"
    assert main(["label", str(tmp_path / "m.csv"), "--out", str(tmp_path / "else/m.csv")]) == 1
    assert "Name a file beside it" in capsys.readouterr().err


def test_labels_in_memory_are_those_that_label_writes_and_no_part_of_the_table(tmp_path: Path) -> None:
    reports = ["Small nodule. No pleural effusion.", "Sin derrame pleural. Enfisema.", "Heart of normal size."]
    table = pd.DataFrame({"study_id": ["s1", "s2", "s3"], "volume": ["a", "b", "c"], "report": reports})
    table.to_csv(tmp_path / "three.csv", index=False)
    assert main(["label", str(tmp_path / "three.csv")]) == 0
    three, written = read_manifest(tmp_path / "three.csv"), read_manifest(tmp_path / "three-labelled.csv")
    made = with_labels(three)
    assert made.column("labels") == written.column("labels") == ["nodule", "emphysema", ""]
    assert made.labels_digest == written.labels_digest != three.labels_digest
    assert (three.labels_from, written.labels_from) == ("none", "column")
    assert made.labels_from.startswith("reports, by findings.yaml ")
    assert made.digest == three.digest
    assert list(made.table) == ["study_id", "volume", "report"]
    assert made.with_column("status", ["ok"] * 3).cell("labels", 1) == "emphysema"
    assert made.with_column("labels", ["cyst"] * 3).labels_from == "column"


def test_a_manifest_with_any_label_is_left_alone(tmp_path: Path) -> None:
    table = {"study_id": ["s1", "s2"], "volume": ["a", "b"], "report": ["A nodule.", "A cyst."], "labels": ["", ""]}
    pd.DataFrame(table).to_csv(tmp_path / "empty.csv", index=False)
    assert with_labels(read_manifest(tmp_path / "empty.csv")).column("labels")[0] == "nodule"
    pd.DataFrame(table | {"labels": ["", "by hand"]}).to_csv(tmp_path / "own.csv", index=False)
    own = read_manifest(tmp_path / "own.csv")
    assert with_labels(own) is own
