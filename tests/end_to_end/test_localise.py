"""From training to the place of a finding: the verb `localise`, and the figures of `test`."""

import json
import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main


@pytest.fixture(scope="module")
def trained(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an encoder whose tokens know where the volume is bright."""
    folder = tmp_path_factory.mktemp("localise")
    words = ["--config", str(folder / "tiny.yaml"), "--data.manifest", str(tiny_cohort), "--runs", str(folder / "runs")]
    (folder / "tiny.yaml").write_text(
        """
experiment: places
trainer: {accelerator: cpu, max_epochs: 1, precision: 32-true, logger: false, enable_progress_bar: false,
enable_model_summary: false}
data: {size: [12, 16, 16], batch_size: 4, eval_batch_size: 3}
model:
  embed_dim: 12
  volume_encoder: {class_path: helpers.toy_modules.PatchMeans, init_args: {patch: [2, 2, 2]}}
  text_encoder: {class_path: helpers.toy_modules.HashText}
  fusion: bimcvr.models.FirstView
"""
    )
    assert main(["fit", *words]) == 0
    (run,) = folder.glob("runs/places/*")
    return run


def test_localise_writes_a_map_on_the_volumes_own_grid(
    trained: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sitk.DICOMOrient(sitk.ReadImage(str(tiny_cohort.parent / "s3.nii.gz")), "RSA")
    image.SetOrigin((10.0, -20.0, 30.0))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    words = ["localise", str(tmp_path / "ct.nii.gz"), "--checkpoint", str(trained / "checkpoints/best.ckpt")]
    words += ["--query", "There is a nodule in the left middle zone.", "--trust", "helpers"]
    assert main([*words, "--out", str(tmp_path / "map.nii.gz"), "--png", str(tmp_path / "map.png")]) == 0
    told = capsys.readouterr().out
    assert "no diagnosis" in told
    assert "by the encoder's tokens, 12 × 8 × 8 mm" in told  # 18 slices of 4 mm on 12: a token is 12 mm
    ct, found = nibabel.load(tmp_path / "ct.nii.gz"), nibabel.load(tmp_path / "map.nii.gz")
    assert found.shape == ct.shape
    assert found.affine == pytest.approx(ct.affine, abs=1e-4)
    # the ball is the brightest or the darkest place of the map, as the untrained direction has it
    values, bright = found.get_fdata(), ct.get_fdata() > 0
    inside, outside = values[bright].mean(), values[~bright]
    assert abs(inside - np.median(outside)) > 5 * np.median(np.abs(outside - np.median(outside)))
    # what is printed is the place in the file
    index = [int(word) for word in told.split("voxel ")[1].split(" of the file")[0].split(", ")]
    assert values[tuple(index)] == values.max()
    place = image.TransformIndexToPhysicalPoint(index)
    assert f"x {place[0]:.1f}, y {place[1]:.1f}, z {place[2]:.1f} mm" in told
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.png")))
    assert picture.shape[1] > 1000


@pytest.mark.skipif(not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder of real volumes")
def test_the_map_of_a_dicom_folder_lies_as_simpleitk_reads_it(trained: Path, tmp_path: Path) -> None:
    study = Path(os.environ["BIMCVR_REAL_DATA"]) / "lidc_idri_small/LIDC-IDRI-0003"
    words = ["localise", str(study), "--checkpoint", str(trained / "checkpoints/best.ckpt"), "--trust", "helpers"]
    assert main([*words, "--query", "There is a nodule.", "--out", str(tmp_path / "map.nii.gz")]) == 0
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(study)))
    theirs, ours = reader.Execute(), sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    assert ours.GetSize() == theirs.GetSize()
    assert ours.GetOrigin() == pytest.approx(theirs.GetOrigin(), abs=1e-3)
    assert ours.GetDirection() == pytest.approx(theirs.GetDirection(), abs=1e-5)
    assert ours.GetSpacing() == pytest.approx(theirs.GetSpacing(), abs=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "x"], "needs --query"),
        (["--query", "nodule"], "needs --checkpoint"),
        (["--query", "nodule", "--checkpoint", "x", "--out", "map.png"], "no NIfTI file"),
        (["--query", "nodule", "--checkpoint", "x"], "There is no checkpoint at x"),
    ],
)
def test_what_is_missing_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["localise", "ct.nii.gz", *words]) == 1
    assert said in capsys.readouterr().err


def with_places(manifest: Path, path: Path) -> None:
    """The tiny cohort with the places of its balls, which are blocks of 4 × 5 × 5 voxels of 4 × 3 × 3 mm."""
    table = pd.read_csv(manifest, dtype=str)
    cells = []
    for number in range(len(table)):
        side, level = number % 2, number // 2 % 3
        centre = [3.0 * (5 + 9 * side), 30.0, 4.0 * (3.5 + 5 * level)]
        cells.append(json.dumps([{"finding": "nodule", "centre": centre, "half_axes": [8, 8, 9]}]))
    table.assign(places=cells).to_csv(path, index=False)


def test_test_scores_where_the_model_looks_and_evaluate_repeats_it(
    trained: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, run = tmp_path / "manifest.csv", tmp_path / "runs/places/run"
    with_places(tiny_cohort, manifest)
    shutil.copytree(trained, run)
    words = ["test", "--checkpoint", str(run / "checkpoints/best.ckpt"), "--trust", "helpers"]
    words += ["--data.manifest", str(manifest), "--data.root", str(tiny_cohort.parent)]
    assert main(words) == 0
    result = json.loads((run / "result.json").read_text())
    nodule = result["metrics"]["localisation"]["nodule"]
    assert nodule["studies"] == 7
    assert 0 < nodule["chance_mass"] < nodule["chance_pointing"] < 100
    assert len(result["intervals"]["localisation"]["nodule"]["pointing"]) == 2
    assert result["localisation"]["how"] == "tokens"
    assert result["localisation"]["token_mm"] == pytest.approx([12, 7.5, 7.5])
    # the one direction that its tokens have is brightness: it points at the ball always, or never
    assert nodule["pointing"] in (0, 100)
    capsys.readouterr()
    out = ["--out", str(tmp_path / "again.json"), "--html", str(tmp_path / "page.html")]
    again = ["evaluate", str(run / "embeddings.npz"), "--manifest", str(manifest), "--root", str(tiny_cohort.parent)]
    assert main([*again, *out]) == 0
    repeated = json.loads((tmp_path / "again.json").read_text())
    for part in ("metrics", "intervals"):
        assert repeated[part]["localisation"] == result[part]["localisation"]
    told = capsys.readouterr().out
    assert "where the model looks, no diagnosis: by tokens of 12 × 8 × 8 mm" in told
    row = next(line for line in told.splitlines() if line.startswith("nodule "))
    assert f"{nodule['pointing']:.1f} %" in row
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Where the model looks" in page
    assert "it is no diagnosis" in page
    # switched off, or without places, nothing of it appears, and the other figures are the same
    assert main([*words, "--model.pointing", "false"]) == 0
    without = json.loads((run / "result.json").read_text())
    assert "localisation" not in without
    assert without["metrics"] == {name: of for name, of in result["metrics"].items() if name != "localisation"}
