"""What a file of embeddings says of its making, and what `evaluate` does with it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.trained_rows import report_hashes
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings, load_embeddings, save_embeddings
from helpers.cli import newest_run

REPORTS = [f"There is a nodule of {number} mm in the right upper lobe." for number in range(12)]
PROVENANCE = {"volume_encoder": "SomeVolume(some weights)", "text_encoder": "SomeText", "receipts": {"volume": {}}}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [
        {"study_id": f"s{n}", "patient_id": f"p{n}", "volume": f"s{n}.nii.gz", "report": report, "split": "test"}
        for n, report in enumerate(REPORTS)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


def embedded(reports: list[str] = REPORTS, seed: int = 0) -> Embeddings:
    image, text = torch.randn(2, len(reports), 4, generator=torch.Generator().manual_seed(seed))
    return Embeddings(
        [f"s{n}" for n in range(len(reports))],
        image,
        text,
        grid=ModelGrid((4, 5, 6)),
        reports=report_hashes(reports),
        provenance=PROVENANCE,
    )


def test_a_file_keeps_what_it_says(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "e.npz", embedded())
    read = load_embeddings(tmp_path / "e.npz")
    assert read.provenance == PROVENANCE
    assert read.reports is not None
    assert np.array_equal(read.reports, report_hashes(REPORTS))
    part = read.only([3, 1])
    assert part.reports is not None
    assert part.reports.tolist() == [read.reports[3], read.reports[1]]


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("provenance", np.array(["{"])),
        ("provenance", np.array(["[1]"])),
        ("provenance", np.array(["[" * 100_000])),
        ("provenance", np.array(["{}", "{}"])),
        ("report_hash", np.zeros(3, dtype=np.int64)),
        ("report_hash", np.zeros(12)),
    ],
)
def test_what_is_not_as_written_is_refused(array: str, value: np.ndarray, tmp_path: Path) -> None:
    save_embeddings(tmp_path / "e.npz", embedded())
    with np.load(tmp_path / "e.npz") as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "e.npz", **{**arrays, array: value})
    with pytest.raises(UserError, match=array):
        load_embeddings(tmp_path / "e.npz")


def evaluate(manifest: Path, *words: str) -> int:
    folder = manifest.parent
    return main(["evaluate", str(folder / "e.npz"), "--manifest", str(manifest), "--resamples", "50", *words])


def test_embeddings_of_other_reports_are_refused(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [report.replace("right", "left") if n in (2, 7) else report for n, report in enumerate(REPORTS)]
    save_embeddings(manifest.parent / "e.npz", embedded())
    save_embeddings(manifest.parent / "other.npz", embedded(changed))
    assert evaluate(manifest) == 0
    capsys.readouterr()
    assert evaluate(manifest, "--compare", str(manifest.parent / "other.npz")) == 1
    told = capsys.readouterr().err
    assert "other.npz was made from other reports" in told
    assert "2 of 12 studies differ (s2, s7)" in told


def test_a_comparison_says_who_made_what_and_on_which_grid(
    manifest: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_embeddings(manifest.parent / "e.npz", embedded())
    made = {**PROVENANCE, "volume_encoder": "OtherVolume(random weights)"}
    other = replace(embedded(seed=1), grid=ModelGrid((8, 8, 8), (2.0, 2.0, 2.0)), provenance=made)
    save_embeddings(manifest.parent / "other.npz", other)
    words = ["--compare", str(manifest.parent / "other.npz"), "--out", str(tmp_path / "r.json")]
    assert evaluate(manifest, *words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "e.npz by SomeVolume(some weights), SomeText" in printed
    assert "other.npz by OtherVolume(random weights), SomeText, which saw the volumes at 8 × 8 × 8 at 2 × 2 × 2 mm" in (
        printed
    )
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["about"]["grid"] == [4, 5, 6]
    assert result["compared_with"][0]["grid"] == [8, 8, 8]
    save_embeddings(manifest.parent / "e.npz", other)
    assert evaluate(manifest) == 0
    assert "RANDOM WEIGHTS" in capsys.readouterr().out.splitlines()[0]


def test_predict_says_how_it_made_its_file(tiny_config: list[str], tiny_cohort: Path, tmp_path: Path) -> None:
    assert main(["fit", *tiny_config]) == 0
    run = newest_run(tmp_path / "runs")
    words = ["--checkpoint", str(run / "checkpoints/best.ckpt"), "--data.manifest", str(tiny_cohort)]
    assert main(["predict", *words]) == 0
    told = load_embeddings(run / "embeddings_manifest.npz")
    assert told.provenance is not None
    assert told.provenance["volume_encoder"] == "PlainConv"
    assert told.provenance["data"]["window_hu"] == [-1000.0, 1000.0]
    assert len(told.provenance["checkpoint_sha256"]) == 64
    assert told.reports is not None
    assert np.array_equal(told.reports, report_hashes(pd.read_csv(tiny_cohort)["report"]))
