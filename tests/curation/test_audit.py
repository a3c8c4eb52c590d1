"""The audit as a whole: one reading a volume, nothing lost by a kill, nothing deleted, no crash."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from defective import chest, write

from bimcvr.curation.audit import facts_cache
from bimcvr.curation.audit.audit import audit_manifest, geometry_columns
from bimcvr.data.manifest import Manifest, read_manifest, write_manifest
from bimcvr.data.reading.grid import GridRules

REPORT = "There is a nodule of {} mm in the left upper lobe, and no effusion."


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two sound scans, one of them twice; then an empty, an absent and a truncated file, and 48 slices."""
    hu, spacing = chest(1)
    write(tmp_path / "a.nii.gz", hu, spacing)
    write(tmp_path / "a2.nii.gz", hu[::-1], spacing, np.diag([1.0, 1.0, -1.0]))
    write(tmp_path / "b.nii.gz", *chest(2))
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    whole = (tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "small.nii.gz", hu[30:78], (spacing[0] * 2, *spacing[1:]))
    names = ["a", "a2", "b", "empty", "absent", "cut", "small"]
    table = pd.DataFrame(
        {
            "study_id": names,
            "volume": [f"{name}.nii.gz" for name in names],
            "report": [REPORT.format(5 + row) for row in range(7)],
            "patient_id": ["p", "p", "q", "r", "s", "t", "q"],
            "split": ["train", "train", "val", "val", "val", "val", "test"],
            "flags": ["", "too_small;seen by Ana", "", "", "", "", ""],
            "age": list("1234567"),
        }
    )
    write_manifest(table, tmp_path / "manifest.csv")
    return read_manifest(tmp_path / "manifest.csv")


def test_every_row_gets_its_findings(manifest: Manifest) -> None:
    result = audit_manifest(manifest, jobs=1)
    assert dict(zip(manifest.column("study_id"), map(set, result.flags()), strict=True)) == {
        "a": set(),
        "a2": {"duplicate_volume"},
        "b": {"patient_in_two_splits"},
        "empty": {"empty_file"},
        "absent": {"missing_file"},
        "cut": {"truncated"},
        "small": {"too_small", "patient_in_two_splits"},
    }
    assert result.counts()["patient_in_two_splits"] == 2
    assert [count for _, count in result.funnel()] == [7, 4, 3, 3, 1]
    assert {flag: [row for row, _ in rows] for flag, rows in result.examples(1).items()}["too_small"] == [6]
    assert list(result.findings_table().columns) == ["study_id", "flag", "evidence"]
    assert not any("\n" in finding.evidence for finding in result.findings)


def test_the_table_keeps_all_rows_and_other_people_s_flags(manifest: Manifest) -> None:
    result = audit_manifest(manifest, jobs=1)
    table = result.flagged_table()
    # an earlier audit's flag is dropped where it no longer holds
    assert table["flags"].tolist()[:3] == ["", "duplicate_volume;seen by Ana", "patient_in_two_splits"]
    assert table["age"].tolist() == manifest.column("age")
    assert table["slices"].tolist() == [str(len(chest(1)[0]))] * 2 + [str(len(chest(2)[0]))] + [""] * 3 + ["48"]
    write_manifest(table, manifest.path)
    again = audit_manifest(read_manifest(manifest.path), jobs=1)
    pd.testing.assert_frame_equal(again.flagged_table(), table)
    # a mended file loses the reader's refusal
    assert table["flags"].tolist()[5] == "truncated"
    write(manifest.volume_path(5), *chest(3))
    assert audit_manifest(read_manifest(manifest.path), jobs=1).flagged_table()["flags"].tolist()[5] == ""


def test_a_second_audit_reads_no_volume(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    first = audit_manifest(manifest, jobs=1)
    read: list[Path] = []

    def no_reading(path: Path, rules: GridRules) -> Any:
        read.append(path)
        return original(path, rules)

    original = facts_cache.measure_volume
    monkeypatch.setattr(facts_cache, "measure_volume", no_reading)
    second = audit_manifest(manifest, jobs=1)
    # what is not there cannot be kept
    assert [path.name for path in read] == ["absent.nii.gz"]
    assert second.findings == first.findings
    kept = sorted((manifest.path.parent / "facts").rglob("*.json"))
    assert len(kept) == 6
    # a damaged entry, and a changed volume, are measured again
    kept[0].write_text(kept[0].read_text()[:100])
    write(manifest.volume_path(0), *chest(3))
    read.clear()
    third = audit_manifest(manifest, jobs=1)
    assert manifest.volume_path(0) in read
    assert 2 <= len(read) <= 3
    assert "duplicate_volume" not in third.counts()


def test_one_broken_volume_does_not_end_the_audit(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    original = facts_cache.measure_volume

    def broken(path: Path, rules: GridRules) -> Any:
        if path.name == "b.nii.gz":
            raise MemoryError("no room")
        return original(path, rules)

    monkeypatch.setattr(facts_cache, "measure_volume", broken)
    result = audit_manifest(manifest, jobs=1)
    assert "unreadable" in result.flags()[2]
    assert "MemoryError" in next(f.evidence for f in result.findings if f.flag == "unreadable")
    monkeypatch.undo()
    assert "unreadable" not in audit_manifest(manifest, jobs=1).counts()


def test_processes_give_what_one_process_gives(manifest: Manifest) -> None:
    table = pd.concat([manifest.table.assign(study_id=manifest.table["study_id"] + suffix) for suffix in ("", "x")])
    double = Manifest(table.reset_index(drop=True), manifest.path, manifest.root)
    one = audit_manifest(double, manifest.root / "one", jobs=1)
    two = audit_manifest(double, manifest.root / "two", jobs=2)
    assert one.findings == two.findings


def test_geometry_columns(manifest: Manifest) -> None:
    result = audit_manifest(manifest, jobs=1)
    hu, spacing = chest(1)
    columns = geometry_columns(result.measured[0])
    assert [int(columns[name]) for name in ("slices", "height", "width")] == list(hu.shape)
    assert [float(columns[name]) for name in ("spacing_d", "spacing_h", "spacing_w")] == pytest.approx(
        spacing, rel=1e-4
    )
    assert set(geometry_columns(result.measured[3]).values()) == {""}
    assert json.loads(next((manifest.root / "facts").rglob("*.json")).read_text())
