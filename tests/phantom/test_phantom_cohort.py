"""The verb: files, resumption, independence of jobs and of the number of patients."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bimcvr.commands.dataset.phantom import phantom
from bimcvr.data.manifest import read_manifest
from bimcvr.errors import UserError

PATIENTS, SEED = 5, 21


def content(folder: Path) -> dict[str, tuple[bytes, tuple[float, ...]]]:
    """Every volume's voxels and geometry, by its path."""
    paths = folder.glob("volumes/*/[!.]*.nii.gz")
    images = {str(path.relative_to(folder)): sitk.ReadImage(str(path)) for path in paths}
    return {
        name: (sitk.GetArrayFromImage(image).tobytes(), (*image.GetDirection(), *image.GetOrigin()))
        for name, image in images.items()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    assert phantom(folder, PATIENTS, SEED, jobs=1) == 0
    return folder


def test_the_manifest_keeps_the_contract(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    assert manifest.is_phantom
    assert len(set(manifest.column("patient_id"))) == PATIENTS
    assert all(manifest.volume_path(row).is_file() for row in range(len(manifest)))
    assert set(manifest.column("language")) == {"en"}
    assert "split" not in manifest.table
    assert all(manifest.column("labels"))


def test_same_cohort_by_two_processes_and_with_more_patients(cohort: Path, tmp_path: Path) -> None:
    phantom(tmp_path, PATIENTS + 2, SEED, jobs=2)
    mine, theirs = content(cohort), content(tmp_path)
    assert len(theirs) > len(mine)
    assert {name: theirs[name] for name in mine} == mine
    rows = read_manifest(cohort / "manifest.csv").table
    assert read_manifest(tmp_path / "manifest.csv").table.iloc[: len(rows)].equals(rows)


def test_a_finished_volume_is_not_made_again(cohort: Path) -> None:
    paths = sorted(cohort.glob("volumes/*/*.nii.gz"))
    times = [path.stat().st_mtime_ns for path in paths]
    before = content(cohort)
    paths[1].unlink()
    phantom(cohort, PATIENTS, SEED, jobs=1)
    assert content(cohort) == before
    assert [path.stat().st_mtime_ns == old for path, old in zip(paths, times, strict=True)].count(False) == 1


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_set(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    command = ["phantom", str(folder), "--patients", "14", "--seed", "5"]
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "bimcvr", *command],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        there = len(list(folder.glob("volumes/*/[!.]*.nii.gz")))
        deadline = time.monotonic() + 120
        while len(list(folder.glob("volumes/*/[!.]*.nii.gz"))) < there + 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    phantom(folder, 14, 5, jobs=1)
    phantom(tmp_path / "whole", 14, 5, jobs=1)
    assert content(folder) == content(tmp_path / "whole")
    assert (folder / "manifest.csv").read_bytes() == (tmp_path / "whole" / "manifest.csv").read_bytes()


def test_another_cohorts_folder_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another phantom cohort"):
        phantom(cohort, PATIENTS, SEED + 1, jobs=1)
    (tmp_path / "manifest.csv").write_text("study_id,volume,report\n")
    with pytest.raises(UserError, match="not a phantom's"):
        phantom(tmp_path, PATIENTS, SEED, jobs=1)
    with pytest.raises(UserError, match="--patients 0"):
        phantom(tmp_path, 0, SEED)


def test_the_preview_is_a_picture(cohort: Path) -> None:
    phantom(cohort, PATIENTS, SEED, preview=True, jobs=1)
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort / "preview.png")))
    assert min(picture.shape[:2]) > 400
    assert np.std(picture) > 20
