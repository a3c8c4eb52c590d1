"""The verb `audit`: flags and never a deletion, a page in which nothing runs, no volume read twice, kills survived."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from defective import chest, write

from bimcvr.cli import main
from bimcvr.curation.audit import facts_cache
from bimcvr.curation.audit.audit import audit_manifest
from bimcvr.curation.audit.output import page as audit_page
from bimcvr.data.manifest import read_manifest, write_manifest
from helpers.cli import environment

SCRIPT = (
    '<script>alert(1)</script> Chest X-ray <img src="http://x/y.png" onerror=alert(1)> PA and lateral. Clear lungs.'
)
REPORT = "There is a nodule of {} mm in the left upper lobe, and no effusion."


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three sound scans and a truncated one.

    A film's report with markup, a placeholder, a rejected row, a foreign flag.
    """
    (tmp_path / "volumes").mkdir()
    for patient in (1, 2, 3):
        write(tmp_path / f"volumes/{patient}.nii.gz", *chest(patient))
    whole = (tmp_path / "volumes/1.nii.gz").read_bytes()
    (tmp_path / "volumes/4.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_manifest(
        pd.DataFrame(
            {
                "study_id": list("abcd"),
                "volume": [f"volumes/{number}.nii.gz" for number in (1, 2, 3, 4)],
                "report": [SCRIPT, "Something wrong with the data! ####", REPORT.format(5), REPORT.format(6)],
                "patient_id": list("pqrs"),
                "split": ["train", "val", "test", "test"],
                "status": ["", "ok", "rejected", ""],
                "flags": ["", "", "seen_by_ana", ""],
                "age": list("1234"),
            }
        ),
        tmp_path / "manifest.csv",
    )
    return tmp_path / "manifest.csv"


def test_it_writes_flags_and_deletes_nothing(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(cohort), "--jobs", "1"]) == 3
    before, after = read_manifest(cohort), read_manifest(cohort.parent / "audit/manifest.csv")
    assert after.column("flags") == ["wrong_modality", "placeholder", "seen_by_ana", "truncated"]
    assert [after.volume_path(row).resolve() for row in range(4)] == [
        before.volume_path(row).resolve() for row in range(4)
    ]
    for name in ("study_id", "report", "patient_id", "split", "status", "age"):
        assert after.column(name) == before.column(name)
    assert after.column("slices")[:2] == [str(len(chest(1)[0])), str(len(chest(2)[0]))]
    findings = pd.read_csv(cohort.parent / "audit/findings.csv", keep_default_na=False)
    assert findings[["study_id", "flag"]].to_numpy().tolist() == [
        ["a", "wrong_modality"],
        ["b", "placeholder"],
        ["d", "truncated"],
    ]
    printed = capsys.readouterr().out
    assert re.search(r"placeholder +1 +25\.0 %  report", printed)
    assert "without a flag: 1 of 4 rows (25.0 %)" in printed
    assert "1 volumes cannot be read" in printed
    assert "Clear lungs" not in printed


def test_it_ends_well_where_all_can_be_read_in_another_folder_and_root(cohort: Path, tmp_path: Path) -> None:
    table = read_manifest(cohort).table.iloc[:3]
    other = tmp_path / "elsewhere/m.csv"
    write_manifest(table, other)
    words = [
        "audit",
        str(other),
        "--root",
        str(cohort.parent),
        "--out",
        str(tmp_path / "o/p"),
        "--facts",
        str(tmp_path / "f"),
    ]
    assert main([*words, "--jobs", "1"]) == 0
    assert sorted(path.name for path in other.parent.iterdir()) == ["m.csv"]
    audited = read_manifest(tmp_path / "o/p/manifest.csv")
    assert all(audited.volume_path(row).is_file() for row in range(3))


def test_nothing_in_the_page_runs_or_leaves(cohort: Path) -> None:
    main(["audit", str(cohort), "--jobs", "1"])
    page = (cohort.parent / "audit/audit.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Chest <mark>X-ray</mark> &lt;img src=&#34;http" in page
    tags = re.findall(r"<[a-z][^>]*>", page)
    assert not [tag for tag in tags if re.search(r"\son\w+\s*=", tag) or re.search(r"(src|href)=[\"'](?!data:|#)", tag)]
    assert "<mark>Something wrong with the data</mark>" in page
    assert page.count("data:image/jpeg") == 2  # the truncated volume has no picture
    assert "Contains patient data" in page
    assert "seen_by_ana (1)" in page
    for flag in ("wrong_modality", "placeholder", "truncated"):
        assert f'id="flag-{flag}"' in page
    assert "No patient is in two splits" in page


def test_a_phantom_s_page_says_so_and_names_the_overlap(cohort: Path) -> None:
    manifest = read_manifest(cohort)
    write_manifest(manifest.table.assign(source="phantom", patient_id=["p", "p", "r", "s"]), cohort)
    main(["audit", str(cohort), "--jobs", "1"])
    page = (cohort.parent / "audit/audit.html").read_text()
    assert "PHANTOM (synthetic data)" in page
    assert "Contains patient data" not in page
    assert "<b>Patient overlap:</b>" in page


def test_one_phantom_row_does_not_hide_the_patients(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read_manifest(cohort)
    write_manifest(manifest.table.assign(source=["phantom", "", "", ""]), cohort)
    main(["audit", str(cohort), "--jobs", "1"])
    assert (
        "Keep it where they may be. Part is PHANTOM (synthetic data)"
        in (cohort.parent / "audit/audit.html").read_text()
    )
    assert "PHANTOM (synthetic data) and patient data: audit of" in capsys.readouterr().out


def test_a_second_run_reads_no_volume_and_writes_the_same(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["audit", str(cohort), "--jobs", "1"])
    out = cohort.parent / "audit"
    first = {path.name: path.read_bytes() for path in out.iterdir()}

    def no_reading(path: Path) -> Any:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(facts_cache, "measure_volume", no_reading)
    monkeypatch.setattr(audit_page, "thumbnail_jpeg", no_reading)
    assert main(["audit", str(cohort), "--jobs", "1"]) == 3
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_the_noise_ceiling_is_that_of_evaluate(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", str(cohort), "--jobs", "1"])
    printed = capsys.readouterr().out
    table = read_manifest(cohort.parent / "audit/manifest.csv").table
    readable = table[~table["flags"].str.contains("truncated")]
    write_manifest(readable, cohort.parent / "audit/readable.csv")  # what cannot be read has no embedding
    rng = np.random.default_rng(0)
    np.savez(
        cohort.parent / "e.npz",
        study_id=np.array(list("abcd")),
        image=rng.normal(size=(4, 5)),
        text=rng.normal(size=(4, 5)),
    )
    words = [
        "evaluate",
        str(cohort.parent / "e.npz"),
        "--manifest",
        str(cohort.parent / "audit/readable.csv"),
        "--split",
        "all",
        "--audited",
        "true",
        "--resamples",
        "10",
        "--out",
        str(cohort.parent / "r.json"),
    ]
    assert main(words) == 0
    whole = json.loads((cohort.parent / "r.json").read_text())["audited"]["ceiling"]["whole"]["text_to_image"]
    # the reports of both accepted rows whose volume can be read belong elsewhere: right by chance
    assert whole["R@1"] == pytest.approx(50)
    assert f"n = 2: text → image R@1 {whole['R@1']:.1f} %, MdR {whole['MdR']:.1f}, MnR {whole['MnR']:.1f}" in printed
    page = (cohort.parent / "audit/audit.html").read_text()
    assert f"<td>{whole['MRR']:.3f}</td>" in page


def test_a_split_that_is_not_there_is_told_before_any_volume_is_read(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_manifest(cohort).table.assign(split="train")
    write_manifest(table, cohort)
    monkeypatch.setattr(facts_cache, "measure_volume", lambda path, rules: pytest.fail("read"))
    assert main(["audit", str(cohort), "--split", "test", "--jobs", "1"]) == 1
    assert "split 'test'" in capsys.readouterr().err
    assert not (cohort.parent / "audit").exists()


@pytest.mark.slow
def test_a_killed_audit_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hu, spacing = chest(1)
    count = 24
    for number in range(count):
        hu[5, 5, 5] = number
        write(tmp_path / f"{number}.nii", hu, spacing)
    write_manifest(
        pd.DataFrame(
            {
                "study_id": [f"s{number}" for number in range(count)],
                "volume": [f"{number}.nii" for number in range(count)],
                "report": [REPORT.format(number) for number in range(count)],
            },
            dtype=str,
        ),
        tmp_path / "manifest.csv",
    )
    words = [sys.executable, "-m", "bimcvr", "audit", str(tmp_path / "manifest.csv"), "--jobs", "1"]
    process = subprocess.Popen(
        words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and len(list((tmp_path / "facts").rglob("[0-9a-f]*.json"))) < 3:
        time.sleep(0.002)
    assert process.poll() is None, "it ended before the kill"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "audit").iterdir()), "nothing half-written"
    kept = len(list((tmp_path / "facts").rglob("[0-9a-f]*.json")))
    assert 3 <= kept < count
    read: list[Path] = []
    original = facts_cache.measure_volume
    monkeypatch.setattr(facts_cache, "measure_volume", lambda path, rules: read.append(path) or original(path, rules))
    assert main(words[3:]) == 0
    assert len(read) == count - kept
    undisturbed = audit_manifest(read_manifest(tmp_path / "manifest.csv"), tmp_path / "fresh", jobs=1)
    findings = pd.read_csv(tmp_path / "audit/findings.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(findings, undisturbed.findings_table(), check_dtype=False)
