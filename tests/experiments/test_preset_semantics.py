"""What the presets switch on and off, seen in the inputs and gradients of the real YAML files."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from pytorch_lightning import Trainer

from bimcvr.cli import main
from bimcvr.contracts import Features
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.models.retriever import Retriever

ROOT = Path(__file__).parents[2]
SMALL = [
    "--data.size",
    "[32,32,32]",
    "--data.batch_size",
    "6",
    "--data.num_workers",
    "0",
    "--data.strategy",
    "exact",
    "--data.allow_patient_overlap",
    "true",
]
SMALL_TOWERS = [
    "--model.volume_encoder",
    "bimcvr.models.ResNet3D",
    "--model.volume_encoder.depth",
    "10",
    "--model.volume_encoder.width",
    "8",
    "--model.volume_encoder.max_pool",
    "false",
    "--model.text_encoder",
    "helpers.toy_modules.HashText",
]


@dataclass
class Built:
    """What a YAML file makes."""

    model: Retriever
    data: CTReportDataModule

    def item(self, position: int, epoch: int) -> dict[str, Any]:
        found: dict[str, Any] = self.data.train_dataset()[epoch, position]
        return found


def build(folder: Path, cohort: Path, *words: str) -> Built:
    """Build what `fit` would train, and prepare its data, without training."""
    made: dict[str, Any] = {}

    @functools.wraps(Trainer.fit)  # the command line reads its options from the signature
    def fit(self: Trainer, model: Retriever, datamodule: CTReportDataModule, **_: Any) -> None:
        made.update(model=model, data=datamodule)

    with patch.object(Trainer, "fit", fit):
        assert (
            main(["fit", *words, "--data.manifest", str(cohort), "--runs", str(folder), "--trainer.logger", "false"])
            == 0
        )
    built = Built(**made)
    built.data.prepare_data()
    built.data.setup("fit")
    return built


def preset(name: str) -> list[str]:
    """The words that name a preset's files: its folder's base, what it goes over, itself."""
    folder, stem = name.split("/")
    names = ["base", *(["quick"] if name == "phantom/strong" else []), stem]
    return [word for own in names for word in ("--config", str(ROOT / f"src/bimcvr/experiments/{folder}/{own}.yaml"))]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("switches")
    assert main(["phantom", str(folder), "--patients", "24", "--seed", "4"]) == 0
    return folder / "manifest.csv"


def towers(name: str) -> list[str]:
    """Small towers for the real sizes' presets; those for phantoms are small."""
    fits = ["--model.fusion.dim", "64"] if name == "bimcv_r/strong" else []
    return (
        [*SMALL_TOWERS, *fits]
        if name.startswith("bimcv_r")
        else ["--model.text_encoder", "helpers.toy_modules.HashText"]
    )


@pytest.mark.parametrize("name", ["bimcv_r/paper", "phantom/paper"])
def test_the_text_sampler_draws_anew_each_epoch_and_its_absence_does_not(
    name: str, cohort: Path, tmp_path: Path
) -> None:
    sampled = build(tmp_path, cohort, *preset(name), *SMALL, *towers(name), "--data.text_sampler.words", "20")
    whole = build(tmp_path, cohort, *preset(name), *SMALL, *towers(name), "--data.text_sampler", "null")
    for position in range(4):
        drawn = {sampled.item(position, epoch)["text"] for epoch in range(6)}
        assert len(drawn) > 2
        assert {whole.item(position, epoch)["text"] for epoch in range(6)} == {
            whole.data.train_dataset().reports()[position]
        }


@pytest.mark.parametrize("name", ["bimcv_r/paper", "phantom/paper", "bimcv_r/strong"])
def test_the_two_views_of_a_study_differ(name: str, cohort: Path, tmp_path: Path) -> None:
    built = build(tmp_path, cohort, *preset(name), *SMALL, *towers(name))
    views = torch.stack([built.item(position, 0)["views"] for position in range(6)])
    assert views.shape[1] == 2
    assert ((views[:, 0] - views[:, 1]).abs().flatten(1).mean(1) > 1e-3).all()
    again = built.item(0, 1)["views"]
    assert not torch.equal(again, views[0])  # each epoch draws its own


@pytest.mark.parametrize("name", ["bimcv_r/paper", "phantom/paper", "bimcv_r/strong"])
def test_l_mse_alone_moves_the_encoder_and_without_weight_nothing_of_it(
    name: str, cohort: Path, tmp_path: Path
) -> None:
    words = [*preset(name), *SMALL, *towers(name), "--model.objective.alpha", "0"]
    words += ["--model.objective.keywords", "0", "--model.objective.presence", "0"]
    for weight, moves in (("1", True), ("0", False)):
        built = build(tmp_path, cohort, *words, "--model.objective.consistency", weight)
        batch = next(iter(built.data.train_dataloader()))
        with patch.object(Retriever, "_log_training"):
            built.model.training_step(batch, 0).backward()
        largest = max(
            float(p.grad.abs().max()) if p.grad is not None else 0.0 for p in built.model.volume_encoder.parameters()
        )
        assert (largest > 0) is moves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "preset_name", "counts"), [("bimcv_r", "strong", True), ("phantom", "paper", False)]
)
def test_in_strong_the_second_view_counts_and_in_paper_it_does_not(
    folder: str, preset_name: str, counts: bool, cohort: Path, tmp_path: Path
) -> None:
    name = f"{folder}/{preset_name}"
    words = [*preset(name), *SMALL, *towers(name), "--trainer.precision", "32-true", "--trainer.accelerator", "cpu"]
    rate = ["--model.optimizer.lr", "0.005", "--trainer.max_epochs", "20", "--trainer.enable_progress_bar", "false"]
    assert (
        main(
            ["fit", *words, *rate, "--data.manifest", str(cohort), "--runs", str(tmp_path), "--trainer.logger", "false"]
        )
        == 0
    )
    model = Retriever.load_from_checkpoint(next(tmp_path.glob("*/*/checkpoints/last.ckpt")), map_location="cpu").eval()
    data = build(tmp_path, cohort, *words).data
    patients = data.manifest.column("patient_id")
    places = {patients[row]: place for place, row in enumerate(data.train_dataset().rows)}  # one study a patient
    with torch.no_grad():
        volumes = torch.stack([data.train_dataset()[place]["volume"] for place in places.values()])
        features: Features = model.volume_encoder(volumes)
        other = Features(features.cls.roll(1, 0), features.tokens.roll(1, 0))
        own, mixed = (model.fusion(features, second).mean(1) for second in (features, other))
    moved = 100 * (1 - torch.cosine_similarity(own, mixed))
    half = float(moved.median())
    print(
        f"\n{name}: another study as view 2 moves the pooled vector by {half:.2g} % (1 - cosine, median of {len(moved)}"
        " studies)"
    )
    assert (half > 1) is counts


def test_labels_are_not_asked_of_mixed_volumes(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *preset("phantom/quick"),
        *SMALL,
        *towers("phantom/quick"),
        "--data.cutmix",
        "0.5",
        "--trainer.max_epochs",
        "1",
    ]
    assert (
        main(["fit", *words, "--data.manifest", str(cohort), "--runs", str(tmp_path), "--trainer.logger", "false"]) == 1
    )
    assert "set data.cutmix to 0" in capsys.readouterr().err
