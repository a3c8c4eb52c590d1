"""fit and test from the command line on real chest CTs, with real readings turned into text."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from bimcvr.cli import main
from helpers.cli import newest_run
from helpers.real_reports import aorta_report, lidc_report

DATA = os.environ.get("BIMCVR_REAL_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="BIMCVR_REAL_DATA names no folder of real volumes")

REAL = """
experiment: real
trainer: {accelerator: cpu, max_epochs: 2, precision: 32-true, logger: false, enable_progress_bar: false}
data:
  size: [16, 32, 32]
  batch_size: 2
  view_1: {class_path: torchio.RandomNoise, init_args: {std: [0.0, 0.05]}}
  view_2: {class_path: torchio.RandomAffine, init_args: {degrees: 5}}
model:
  volume_encoder:
    {class_path: bimcvr.models.ResNet3D, init_args: {depth: 10, width: 4, max_pool: false}}
  text_encoder: {class_path: bimcvr.models.MiniLM}
"""


def test_fit_and_test_on_real_chest_volumes(tmp_path: Path) -> None:
    rows = [
        ("lidc-1", "lidc_idri_small/LIDC-IDRI-0001", lidc_report(Path(DATA), "LIDC-IDRI-0001"), "train"),
        ("lidc-3", "lidc_idri_small/LIDC-IDRI-0003", lidc_report(Path(DATA), "LIDC-IDRI-0003"), "train"),
        ("cip-1", "cip_chest/ct-64.nrrd", "Whole chest CT, for which no reading is at hand.", "val"),
        ("aorta", "totalsegmentator/aorta_report/ct_cropped.nii.gz", aorta_report(Path(DATA)), "test"),
        ("cip-2", "cip_chest/TestInput.nrrd", "Whole chest CT of a second patient, without a reading.", "test"),
    ]
    pd.DataFrame(rows, columns=["study_id", "volume", "report", "split"]).to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "real.yaml").write_text(REAL)
    words = [
        "--config",
        str(tmp_path / "real.yaml"),
        "--data.manifest",
        str(tmp_path / "manifest.csv"),
        "--data.root",
        DATA,
        "--data.cache",
        str(tmp_path / "cache"),
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert main(["fit", *words]) == 0
    assert main(["test", *words, "--ckpt_path", "best"]) == 0
    result = json.loads((newest_run(tmp_path / "runs") / "result.json").read_text())
    assert (result["n_queries"], result["about"]["synthetic"], result["about"]["set_aside"]) == (2, False, 0)
    assert result["about"]["text_encoder"].startswith("MiniLM")
    assert 1 <= result["metrics"]["text_to_image"]["MnR"] <= 2
