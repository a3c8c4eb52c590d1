"""A grid in millimetres through cache, fit, test, evaluate, index and a query: it is stated, kept and the same."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bimcvr
from bimcvr.cli import main
from bimcvr.data.reading.resample import read_on_grid
from bimcvr.errors import UserError
from bimcvr.presets import read_yaml
from bimcvr.training.resume import refuse_other_settings
from helpers.cli import TINY, newest_run

# of volumes of 72 × 60 × 60 mm
GRID = {"size": [12, 16, 16], "spacing": [4.0, 3.0, 3.0]}
OPTIONS = ["--size", str(GRID["size"]), "--spacing", str(GRID["spacing"])]


@pytest.fixture(scope="module")
def run(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grids")
    (folder / "tiny.yaml").write_text(
        TINY.replace("size: [12, 16, 16]", f"size: [12, 16, 16], spacing: [4, 3, 3], cache: {folder}/cache").replace(
            "max_epochs: 2", "max_epochs: 1"
        )
    )
    words = ["--config", str(folder / "tiny.yaml"), "--data.manifest", str(tiny_cohort), "--runs", str(folder / "runs")]
    assert main(["cache", str(tiny_cohort), *OPTIONS, "--cache", str(folder / "cache"), "--jobs", "1"]) == 0
    made = {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.ct")}
    assert len(made) == 30
    assert main(["fit", *words]) == 0
    run = newest_run(folder / "runs")
    assert main(["test", "--checkpoint", str(run / "checkpoints/best.ckpt")]) == 0
    # what `cache` has made is what `fit` and `test` have read
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.ct")} == made
    return run


def test_cache_says_what_is_cut(run: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = run.parents[2] / "cache"
    assert main(["cache", str(tiny_cohort), *OPTIONS, "--cache", str(cache), "--jobs", "1", "--verify"]) == 0
    said = capsys.readouterr().out
    assert "30 of 30 volumes are in" in said
    assert "12 × 16 × 16 at 4 × 3 × 3 mm" in said
    assert "30 volumes are cut by the grid, and no lungs were found in them" in said
    assert len(pd.read_csv(cache / "cut_lungs.csv")) == 30


def test_preview_draws_the_grid(
    run: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = str(run.parents[2] / "tiny.yaml"), tmp_path / "p.png"
    assert main(["preview", str(tiny_cohort), "--config", config, "--studies", "1", "--out", str(out)]) == 0
    assert "grid 12 × 16 × 16 at 4 × 3 × 3 mm" in capsys.readouterr().out
    assert out.stat().st_size


def test_result_and_embeddings_state_the_grid(run: Path) -> None:
    about = json.loads((run / "result.json").read_text())["about"]
    assert (about["grid"], about["spacing_mm"]) == (GRID["size"], GRID["spacing"])
    assert about["lungs_cut"] == {"volumes": 7, "cut": 0, "worst_share": 0.0, "no_lungs_found": 7}
    saved = bimcvr.evaluation.load_embeddings(run / "embeddings.npz").grid
    assert saved is not None
    assert saved.facts() == {"grid": GRID["size"], "spacing_mm": GRID["spacing"], "grid_centre": "volume"}


def test_a_comparison_of_different_grids_says_so(
    run: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(np.load(run / "embeddings.npz"))
    np.savez(tmp_path / "whole.npz", **{**arrays, "grid_spacing": np.array([])})
    np.savez(tmp_path / "unknown.npz", **{name: array for name, array in arrays.items() if "grid" not in name})
    words = ["--manifest", str(run / "manifest.csv"), "--resamples", "20", "--out", str(tmp_path / "r.json")]
    own = str(run / "embeddings.npz")
    for other, differs in (("whole", True), ("unknown", False)):
        assert main(["evaluate", own, *words, "--compare", str(tmp_path / f"{other}.npz")]) == 0
        result = json.loads((tmp_path / "r.json").read_text())
        assert any("different grids" in note for note in result["notes"]) == differs
        assert result["about"]["spacing_mm"] == GRID["spacing"]
    assert "grid: 12 × 16 × 16 at 4 × 3 × 3 mm" in capsys.readouterr().out
    np.savez(tmp_path / "odd.npz", **{**arrays, "grid_spacing": np.array([1.0, -1.0, 1.0])})
    assert main(["evaluate", str(tmp_path / "odd.npz"), *words]) == 1
    assert "grid_spacing (3,)" in capsys.readouterr().err


def test_index_and_query_are_on_the_grid_of_the_training(
    run: Path, tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, out = run / "checkpoints/best.ckpt", tmp_path / "index"
    words = ["--manifest", str(run / "manifest.csv"), "--root", str(tiny_cohort.parent), "--split", "test"]
    cache = ["--cache", str(run.parents[2] / "cache"), "--jobs", "1"]
    assert main(["index", "--checkpoint", str(checkpoint), *words, *cache, "--out", str(out)]) == 0
    searcher = bimcvr.open_index(out, device="cpu")
    facts = searcher.index.facts
    assert (facts["grid"], facts["spacing_mm"]) == (GRID["size"], GRID["spacing"])
    saved, volume = np.load(run / "embeddings.npz"), tiny_cohort.parent / "s25.nii.gz"
    vector = saved["image"][saved["study_id"].tolist().index("s25")]
    model = bimcvr.load_model(checkpoint, "cpu")
    assert np.allclose(model.embed_file(volume), vector, atol=1e-5)
    monkeypatch.setattr(
        model, "read", lambda path: dataclasses.replace(read_on_grid(path, model.grid), lungs_outside=0.3)
    )
    with pytest.warns(UserWarning, match="30% of the lungs lie outside the model's grid"):
        assert np.allclose(model.embed_file(volume), vector, atol=1e-5)
    best = searcher.volume(volume, top=1).hits[0]
    assert (best.study_id, round(best.score, 4)) == ("s25", 1.0)
    searcher.index.close()
    # the same weights with another grid in their config
    config = run / "config.yaml"
    text = config.read_text()
    try:
        config.write_text(text.replace("spacing:\n  - 4.0", "spacing:\n  - 5.0"))
        assert config.read_text() != text
        with pytest.raises(UserError, match="the grid 12 × 16 × 16 at 4 × 3 × 3 mm, but the config"):
            bimcvr.open_index(out, device="cpu")
        assert main(["index", "--checkpoint", str(checkpoint), *words, *cache, "--out", str(out)]) == 1
    finally:
        config.write_text(text)


def test_a_resume_cannot_change_the_grid(run: Path, tmp_path: Path) -> None:
    config = read_yaml(run / "config.yaml")
    whole = {**config, "data": {**config["data"], "spacing": None}}
    refuse_other_settings(run, config)
    with pytest.raises(UserError, match=r"data\.spacing"):
        refuse_other_settings(run, whole)
    # a run of before there were spacings
    old = {name: value for name, value in config["data"].items() if name not in ("spacing", "centre")}
    (tmp_path / "config.yaml").write_text(json.dumps({**config, "data": old}))
    refuse_other_settings(tmp_path, whole)
    with pytest.raises(UserError, match=r"data\.spacing"):
        refuse_other_settings(tmp_path, config)
