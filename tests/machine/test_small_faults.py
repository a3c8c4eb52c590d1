"""Small faults of several verbs: a ceiling of unread rows, one paragraph said four times, a second cache."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from bimcvr.cli import main
from bimcvr.commands import doctor
from bimcvr.doctor.check_result import CheckResult
from bimcvr.run_folder import data_of_run


def test_there_is_no_noise_ceiling_without_a_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        "study_id": ["s1", "s2"],
        "volume": ["a.nii.gz", "b.nii.gz"],
        "report": ["There is a nodule in the left lung.", "The heart is enlarged, no effusion."],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    assert main(["audit", str(tmp_path / "m.csv"), "--jobs", "1"]) == 3
    told = capsys.readouterr().out
    assert "2 volumes cannot be read, so there is no noise ceiling" in told
    assert "noise ceiling, " not in told


def test_the_doctor_says_a_paragraph_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    remedy = "Download the weights of this model from the place that its authors name, and put them into that folder."
    doctor._print([CheckResult("warning", f"weights {number}", "absent", remedy) for number in range(4)])
    told = capsys.readouterr().out
    assert told.count("put them into that folder") == 1
    assert told.count("As for weights 0.") == 3


def test_a_run_s_manifest_leads_to_the_volumes_and_cache_of_its_training(tmp_path: Path) -> None:
    run, cohort = tmp_path / "runs/mine/1", tmp_path / "cohort"
    run.mkdir(parents=True)
    (cohort / "cache").mkdir(parents=True)
    config = {"data": {"manifest": str(cohort / "manifest.csv"), "root": None, "cache": None}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert data_of_run(run / "manifest.csv") == (cohort, cohort / "cache")
    assert data_of_run(run / "other.csv") == (None, None)
    assert data_of_run(cohort / "manifest.csv") == (None, None)
    config["data"] |= {"root": str(tmp_path), "cache": str(tmp_path / "absent")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert data_of_run(run / "manifest.csv") == (tmp_path, None)
