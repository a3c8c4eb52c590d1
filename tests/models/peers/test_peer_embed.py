"""Published models with small random weights through `embed`, `index`, `evaluate` and a trained head."""

import os
from pathlib import Path

import pytest
import yaml

import bimcvr.models
from bimcvr.cli import main
from bimcvr.contracts import DataGrid
from bimcvr.errors import UserError
from bimcvr.presets import preset
from helpers import peer_files
from helpers.cli import newest_run

TEXT = "There is no large pleural effusion."
REAL = pytest.mark.skipif(
    "BIMCVR_REAL_DATA" not in os.environ, reason="BIMCVR_REAL_DATA does not name the real volumes"
)


def small(name: str, folder: Path, out: Path, head: bool = False) -> Path:
    """Write a shipped experiment with a small tower of random weights in the published one's place."""
    towers = {
        "colipri": (
            {"model": str(folder / "model.safetensors"), "reduced": peer_files.COLIPRI},
            {"tokenizer": str(folder / "cxr-bert"), "reduced": peer_files.COLIPRI_TEXT},
            [32, 32, 32],
        ),
    }
    image, text, size = towers[name]
    content = yaml.safe_load(preset(f"experiments/peers/{name}{'_head' * head}.yaml").read_text())
    base = yaml.safe_load(preset("experiments/peers/base.yaml").read_text())
    model = {**base["model"], **content["model"]}
    given = {"model": str(folder / "model.safetensors"), "random_weights": True}
    if head:
        model["volume_encoder"]["init_args"]["encoder"]["init_args"] |= {**given, **image}
        model["volume_encoder"]["init_args"]["folder"] = str(out / "features")
    else:
        model["volume_encoder"] = {"class_path": model["volume_encoder"], "init_args": {**given, **image}}
    model["text_encoder"] = {"class_path": model["text_encoder"], "init_args": {**given, **text}}
    data = {**base["data"], **content["data"], "size": size, "num_workers": 0}
    path = out / f"{name}{'_head' * head}.yaml"
    trainer = {**base["trainer"], "accelerator": "cpu", "logger": False}
    path.write_text(yaml.safe_dump({"experiment": path.stem, "trainer": trainer, "data": data, "model": model}))
    return path


@REAL
def test_a_real_dicom_folder_from_receipt_to_search(
    colipri_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scan = Path(os.environ["BIMCVR_REAL_DATA"]) / "lidc_idri_small/LIDC-IDRI-0001"
    config = small("colipri", colipri_folder, tmp_path)
    assert main(["embed", str(scan), "--model", str(config), "--text", TEXT]) == 0
    printed = capsys.readouterr().out
    for line in (
        "volume  tower: COLIPRI",
        "volume  weights, source: random weights",
        "volume  input, axes: RAS",
        "volume  input, spacing: [2.0, 2.0, 2.0]",
        "text    input, pooling: attention, padding masked",
        "data    lungs cut, ",
        "cosine of the scan and the text: ",
    ):
        assert line in printed, line
    npz, manifest = "embeddings/embeddings_colipri.npz", "embeddings/manifest.csv"
    assert main(["index", "--embeddings", npz, "--manifest", manifest, "--jobs", "1"]) == 0
    assert main(["search", "index", "--study", "LIDC-IDRI-0001"]) == 0
    capsys.readouterr()
    toy = yaml.safe_load(config.read_text())
    toy["data"] |= {"size": [8, 8, 8], "spacing": None}
    toy["model"] |= {
        "volume_encoder": {"class_path": "helpers.toy_modules.FixedConv", "init_args": {"dim": 16}},
        "text_encoder": {"class_path": "helpers.toy_modules.HashText", "init_args": {"dim": 16}},
    }
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(toy))
    assert main(["embed", str(scan), "--model", "toy.yaml", "--text", TEXT, "--out", "other"]) == 0
    words = ["--compare", "other/embeddings_toy.npz", "--split", "all", "--resamples", "20"]
    assert main(["evaluate", npz, "--manifest", manifest, *words]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "RANDOM WEIGHTS" in printed
    assert "which saw the volumes at 8 × 8 × 8, the first at 32 × 32 × 32 at 2 × 2 × 2 mm" in printed


@pytest.mark.slow
def test_a_head_over_a_frozen_tower(
    colipri_folder: Path, tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = small("colipri", colipri_folder, tmp_path, head=True)
    words = ["--config", str(config), "--data.manifest", str(tiny_cohort), "--data.batch_size", "8"]
    assert main(["fit", *words, "--trainer.max_epochs", "2"]) == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")}
    assert len(kept) == 16 + 7 + 1  # train, val, and the empty volume of the check at start
    run = newest_run(tmp_path / "runs")
    assert main(["test", "--checkpoint", str(run / "checkpoints/best.ckpt")]) == 0
    assert "frozen ColipriVolume, random weights" in (run / "result.json").read_text()
    assert (
        kept.items()
        <= {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")}.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colipri", "spectre", "merlin"])
def test_a_tower_of_full_size_accepts_the_grid_of_its_experiments(name: str) -> None:
    tower = getattr(bimcvr.models, f"{name.capitalize()}Volume")(random_weights=True)
    for head in ("", "_head"):
        data = yaml.safe_load(preset(f"experiments/peers/{name}{head}.yaml").read_text())["data"]
        tower.accept_grid(DataGrid(tuple(data["size"]), tuple(data["spacing"]), (-1000.0, 1000.0)))
        with pytest.raises(UserError, match=r"data.size"):
            tower.accept_grid(DataGrid((7, 7, 7), tuple(data["spacing"]), (-1000.0, 1000.0)))
