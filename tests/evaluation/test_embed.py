"""The verb `embed`: one scan or a manifest, a zero-shot experiment or a checkpoint."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import load_embeddings
from helpers.cli import newest_run

ZERO_SHOT = """
experiment: fixed
trainer: {accelerator: cpu, precision: 32-true}
data: {size: SIZE, eval_batch_size: 1}
model:
  map_volumes: false
  fusion: bimcvr.models.FirstView
  volume_encoder: {class_path: helpers.toy_modules.FixedConv, init_args: {dim: 16}}
  text_encoder: {class_path: helpers.toy_modules.HashText, init_args: {dim: 16}}
"""
TEXT = "There is a nodule in the right upper zone."


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two experiments that need no training."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(ZERO_SHOT.replace("SIZE", "[8, 8, 8]"))
    (tmp_path / "large.yaml").write_text(ZERO_SHOT.replace("SIZE", "[12, 12, 12]"))
    return tmp_path


def test_a_scan_and_its_report(here: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = tiny_cohort.parent / "s3.nii.gz"
    assert main(["embed", str(scan), "--model", "small.yaml, large.yaml", "--text", TEXT, "--out", "e"]) == 0
    printed = capsys.readouterr().out
    assert "small: 1 volume, vectors of 16 numbers" in printed
    assert "volume  tower: FixedConv" in printed
    assert "data    window hu: [-1000.0, 1000.0]" in printed
    assert "cosine of the scan and the text: " in printed
    assert sorted(path.name for path in (here / "e").iterdir()) == [
        "embeddings_large.npz",
        "embeddings_small.npz",
        "manifest.csv",
    ]
    small = load_embeddings(here / "e/embeddings_small.npz")
    assert small.study_id == ["s3"]
    assert f"{float(small.image[0] @ small.text[0] / small.image.norm() / small.text.norm()):.4f}" in printed
    words = ["e/embeddings_small.npz", "--manifest", "e/manifest.csv", "--split", "all", "--resamples", "20"]
    assert main(["evaluate", *words, "--compare", "e/embeddings_large.npz"]) == 0
    assert "which saw the volumes at 12 × 12 × 12, the first at 8 × 8 × 8" in " ".join(capsys.readouterr().out.split())
    assert main(["index", "--embeddings", "e/embeddings_small.npz", "--manifest", "e/manifest.csv", "--jobs", "1"]) == 0
    assert main(["search", "index", "--study", "s3"]) == 0
    assert not list(here.glob("runs"))


def test_a_scan_without_a_report_has_no_text(here: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(tiny_cohort.parent / "s3.nii.gz"), "--model", "small.yaml"]) == 0
    assert "no `text`" in capsys.readouterr().out
    with np.load(here / "embeddings/embeddings_small.npz") as stored:
        assert "image" in stored.files
        assert not {"text", "report_hash"} & set(stored.files)
    with pytest.raises(UserError, match="no array 'text'"):
        load_embeddings(here / "embeddings/embeddings_small.npz")


def test_a_checkpoint_gives_what_predict_gives(
    here: Path, tiny_config: list[str], tiny_cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *tiny_config]) == 0
    run = newest_run(here / "runs")
    checkpoint = str(run / "checkpoints/best.ckpt")
    assert main(["predict", "--checkpoint", checkpoint, "--data.manifest", str(tiny_cohort)]) == 0
    wanted = load_embeddings(run / "embeddings_manifest.npz")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(["embed", str(tiny_cohort), "--model", checkpoint]) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    made = load_embeddings(here / f"embeddings/embeddings_tiny-{run.name}.npz")
    assert made.study_id == wanted.study_id
    assert np.array_equal(made.image, wanted.image)
    assert made.trained is not None, "evaluate still knows which rows were trained on"
    words = ["evaluate", f"embeddings/embeddings_tiny-{run.name}.npz", "--manifest", str(tiny_cohort)]
    assert main([*words, "--split", "all", "--resamples", "20"]) == 1
    assert "trained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent.nii.gz", "--model", "colipri"], "There is no scan or manifest at absent.nii.gz"),
        (["SCAN"], "embed needs --model: colipri, ctclip, merlin, spectre"),
        (["SCAN", "--model", "collipri"], "Did you mean 'colipri'?"),
        (["SCAN", "--model", "small.yaml,./small.yaml"], "would be written to one file"),
        (["SCAN", "--model", "absent.ckpt"], "no checkpoint in a run folder at absent.ckpt"),
        (["SCAN", "--model", "trained.yaml"], "this experiment is to be trained first"),
        (["MANIFEST", "--model", "small.yaml", "--text", "x"], "--text is the report of one scan"),
    ],
)
def test_what_cannot_be_embedded_is_told(
    words: list[str], told: str, here: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "trained.yaml").write_text(
        ZERO_SHOT.replace("SIZE", "[8, 8, 8]").replace("  map_volumes: false\n", "  embed_dim: 4\n")
    )
    places = {"SCAN": str(tiny_cohort.parent / "s3.nii.gz"), "MANIFEST": str(tiny_cohort)}
    assert main(["embed", *(places.get(word, word) for word in words)]) == 1
    assert told in capsys.readouterr().err
    assert not list(here.glob("embeddings/embeddings_*"))


def test_a_scan_that_is_refused_leaves_no_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "broken.nii.gz").write_bytes(b"no scan")
    assert main(["embed", "broken.nii.gz", "--model", "small.yaml"]) == 1
    assert "broken" in capsys.readouterr().err
    assert not list(here.glob("embeddings/*.npz"))
    assert not list(here.glob("embeddings/.embed-*"))


@pytest.mark.skipif("BIMCVR_REAL_DATA" not in os.environ, reason="BIMCVR_REAL_DATA does not name the real volumes")
def test_a_real_dicom_folder(here: Path) -> None:
    folder = Path(os.environ["BIMCVR_REAL_DATA"]) / "lidc_idri_small/LIDC-IDRI-0001"
    assert main(["embed", str(folder), "--model", "small.yaml", "--text", TEXT]) == 0
    assert load_embeddings(here / "embeddings/embeddings_small.npz").study_id == ["LIDC-IDRI-0001"]
    assert pd.read_csv(here / "embeddings/manifest.csv")["volume"].tolist() == [str(folder.resolve())]
