"""The real experiment on a small phantom cohort, from the command line.

It learns, and the figures say what they are.
"""

import json
from pathlib import Path

import pytest

from bimcvr.cli import main
from helpers.cli import bimcvr, newest_run

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_phantoms_are_retrieved_better_than_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cohort = tmp_path / "cohort"
    assert main(["phantom", str(cohort), "--patients", "320", "--seed", "11"]) == 0
    assert "Ceiling" in capsys.readouterr().out
    words = [
        "--config",
        ROOT / "src/bimcvr/experiments/phantom/base.yaml",
        "--config",
        ROOT / "src/bimcvr/experiments/phantom/quick.yaml",
        "--data.manifest",
        cohort / "manifest.csv",
        "--runs",
        tmp_path / "runs",
        "--trainer.enable_progress_bar",
        "false",
        "--data.fractions",
        "[0.65, 0.1, 0.25]",
        "--trainer.max_epochs",
        "16",
    ]
    trained = bimcvr("fit", *words, timeout=900)
    assert trained.returncode == 0, trained.stderr
    assert main(["test", *map(str, words), "--ckpt_path", "best"]) == 0
    assert "PHANTOM (synthetic data)" in capsys.readouterr().out
    run = newest_run(tmp_path / "runs")
    assert list(run.glob("wandb/offline-run-*")), "W&B runs offline without a login"
    result = json.loads((run / "result.json").read_text())
    for way in ("text_to_image", "image_to_text"):
        low, high = result["intervals"][way]["R@10"]
        assert low > result["chance"]["R@10"], (way, low, high, result["chance"])
        assert result["metrics"][way]["R@10"] > 1.8 * result["chance"]["R@10"]
        assert result["ceiling"][way]["R@10"] > 90
