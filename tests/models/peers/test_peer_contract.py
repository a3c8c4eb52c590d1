"""What a peer's towers refuse, what they state of themselves, and what results call random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from bimcvr.atomic_files import sha256_of
from bimcvr.cli import main
from bimcvr.contracts import DataGrid, HasReceipt, TakesGrid
from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.extras import MissingExtra, is_installed
from bimcvr.models.embedder import Embedder
from bimcvr.models.evaluation_loop import part_name
from bimcvr.models.part_checks import check_grid
from bimcvr.models.peers import colipri, merlin, spectre
from bimcvr.models.peers.weights import PeerWeights
from bimcvr.models.receipts import receipt_of
from bimcvr.models.text.sentence_transformer import SentenceEncoder
from bimcvr.models.volume.cached_features import CachedFeatures
from helpers import peer_files
from helpers.cli import TINY, newest_run
from helpers.toy_modules import PlainConv

peers = pytest.mark.skipif(
    not is_installed("peers"), reason="the extra 'peers' is not installed (make test EXTRAS=dev,peers)"
)

GRID = DataGrid((32, 32, 32), (2.0, 2.0, 2.0), (-1000.0, 1000.0))
CLASSES = [
    colipri.ColipriVolume,
    colipri.ColipriText,
    spectre.SpectreVolume,
    spectre.SpectreText,
    merlin.MerlinVolume,
    merlin.MerlinText,
]


@pytest.fixture(scope="module")
def tower() -> colipri.ColipriVolume:
    return colipri.ColipriVolume(random_weights=True, reduced=peer_files.COLIPRI)


@pytest.mark.parametrize("made", CLASSES)
def test_without_its_package_a_tower_names_the_extra(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimcvr.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'bimcvr\[peers\]'"):
        made()


@peers
@pytest.mark.parametrize("made", CLASSES)
def test_published_weights_that_are_not_here_are_never_replaced(made: Any, hub_offline: None) -> None:
    with pytest.raises(WeightsAbsent, match="HF_HUB_OFFLINE is set"):
        made()


@peers
@pytest.mark.parametrize(
    ("made", "arguments"),
    [
        (colipri.ColipriVolume, {"reduced": peer_files.COLIPRI}),
        (colipri.ColipriText, {"reduced": peer_files.COLIPRI_TEXT}),
        (spectre.SpectreVolume, {"reduced": peer_files.SPECTRE}),
        (merlin.MerlinVolume, {"reduced": peer_files.MERLIN}),
    ],
)
def test_a_reduced_model_says_that_it_is_random(made: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="random_weights: true"):
        made(**arguments)


@peers
@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (GRID._replace(size=(96, 224, 224)), r"Set data.size to \[32, 32, 32\] and data.spacing to \[2.0, 2.0, 2.0\]"),
        (GRID._replace(spacing=(1.0, 2.0, 2.0)), r"of \[1.0, 2.0, 2.0\] mm"),
        (GRID._replace(spacing=None), "whatever spacing the files have"),
        (GRID._replace(window=(-160.0, 240.0)), r"data.window \[-160.0, 240.0\] has clipped some"),
    ],
)
def test_another_grid_or_a_narrow_window_is_refused(tower: colipri.ColipriVolume, grid: DataGrid, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tower.accept_grid(grid)


@peers
def test_a_tower_that_was_told_no_grid_encodes_nothing() -> None:
    made = colipri.ColipriVolume(random_weights=True, reduced=peer_files.COLIPRI)
    with pytest.raises(UserError, match="was not told the grid"):
        made(torch.zeros(1, 1, 32, 32, 32))


@peers
def test_any_wider_window_gives_the_same_vectors(tower: colipri.ColipriVolume) -> None:
    torch.manual_seed(0)
    hu = torch.randint(-1024, 2000, (1, 1, 32, 32, 32)).float()
    vectors = []
    for low, high in ((-1000.0, 1000.0), (-1024.0, 3071.0)):
        tower.accept_grid(GRID._replace(window=(low, high)))
        vectors.append(tower(((hu - low) / (high - low)).clamp(0, 1)).cls)
    torch.testing.assert_close(*vectors, rtol=0, atol=1e-5)


@peers
def test_own_tokens_for_a_new_head() -> None:
    made = colipri.ColipriVolume(projected=False, random_weights=True, reduced=peer_files.COLIPRI)
    made.accept_grid(GRID)
    features = made(torch.rand(2, 1, 32, 32, 32))
    assert (features.cls.shape, features.tokens.shape) == ((2, 144), (2, 64, 144))
    assert made.dim == 144
    assert not list(made.parameters())  # nothing of it is trained or in a checkpoint
    assert not made.state_dict()


@peers
def test_a_receipt_is_data(tower: colipri.ColipriVolume, colipri_folder: Path) -> None:
    tower.accept_grid(GRID)
    assert isinstance(tower, HasReceipt)
    assert isinstance(tower, TakesGrid)
    receipt = json.loads(json.dumps(tower.receipt()))
    assert receipt["tower"] == "COLIPRI"
    assert receipt["package"] == "colipri 0.1.3"
    assert receipt["input"]["axes"] == "RAS"
    assert receipt["input"]["spacing"] == [2, 2, 2]
    assert receipt["data"]["window"] == [-1000, 1000]
    assert receipt["weights"] == {"source": "random weights", "random": True, "files": {}, "revision": None}
    assert part_name(tower) == "ColipriVolume(random weights)"
    loaded = colipri.ColipriVolume(str(colipri_folder), random_weights=True, reduced=peer_files.COLIPRI)
    stated = loaded.receipt()["weights"]
    assert isinstance(stated, dict)
    assert len(stated["files"]["model.safetensors"]) == 64
    assert stated["source"] == "random weights"


@peers
def test_a_file_of_other_weights_is_refused(colipri_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.safetensors does not hold the weights of this model: .* in the model"):
        colipri.ColipriVolume(
            str(colipri_folder), random_weights=True, reduced=peer_files.COLIPRI | {"projection_dim": 24}
        )
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read as a file of weights"):
        colipri.ColipriVolume(str(tmp_path), random_weights=True, reduced=peer_files.COLIPRI)


@peers
@pytest.mark.slow
def test_zero_shot_from_yaml(
    colipri_folder: Path, tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config: dict[str, Any] = yaml.safe_load(TINY)
    random = {"model": str(colipri_folder), "random_weights": True}
    config["data"] |= {"size": [32, 32, 32], "spacing": [2, 2, 2]}
    config["model"] = {
        "map_volumes": False,
        "fusion": "bimcvr.models.FirstView",
        "volume_encoder": {
            "class_path": "bimcvr.models.ColipriVolume",
            "init_args": {**random, "reduced": peer_files.COLIPRI},
        },
        "text_encoder": {
            "class_path": "bimcvr.models.ColipriText",
            "init_args": {
                **random,
                "reduced": peer_files.COLIPRI_TEXT,
                "tokenizer": str(colipri_folder / "cxr-bert"),
            },
        },
    }
    (tmp_path / "peer.yaml").write_text(yaml.safe_dump(config))
    options = ["--config", str(tmp_path / "peer.yaml"), "--data.manifest", str(tiny_cohort)]
    assert main(["test", *options, "--runs", str(tmp_path / "runs")]) == 0
    about = json.loads((newest_run(tmp_path / "runs") / "result.json").read_text())["about"]
    assert about["volume_encoder"] == "ColipriVolume(random weights)"
    assert about["text_encoder"] == "ColipriText(random weights)"
    assert "ColipriVolume(random weights)" in capsys.readouterr().out
    assert main(["test", *options, "--runs", str(tmp_path / "runs"), "--data.spacing", "[1,1,1]"]) == 1
    assert "COLIPRI reads volumes of [32, 32, 32] voxels of [2.0, 2.0, 2.0] mm" in capsys.readouterr().err


@peers
def test_features_that_are_kept_are_those_of_the_tower_that_was_told_the_grid(
    tower: colipri.ColipriVolume, tmp_path: Path
) -> None:
    volume = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for window in ((-1000.0, 1000.0), (-1024.0, 3071.0)):
        kept = CachedFeatures(colipri.ColipriVolume(random_weights=True, reduced=peer_files.COLIPRI), tmp_path)
        check_grid(kept, GRID._replace(window=window))
        tower.accept_grid(GRID._replace(window=window))
        found.append(kept(volume).cls)
        torch.testing.assert_close(found[-1], tower(volume).cls, rtol=0, atol=1e-6)
    # the same numbers mean other HU: another entry on disk
    assert not torch.allclose(*found, atol=1e-3)
    assert receipt_of(kept)["tower"] == "COLIPRI"


def test_the_receipt_of_any_encoder(bert_folder: Path) -> None:
    assert receipt_of(PlainConv()) == {"tower": "PlainConv", "weights": {"source": "", "random": False}}
    receipt = json.loads(json.dumps(receipt_of(SentenceEncoder(str(bert_folder), prompt="Report: "))))
    assert receipt["weights"]["source"] == str(bert_folder)
    assert receipt["input"] == {"prompt": "Report: ", "lower_case": False, "max_tokens": 24, "pooling": "mean"}


def test_files_of_the_hub_s_cache_state_their_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--some--model/snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (tmp_path / "models--some--model/refs").mkdir()
    (tmp_path / "models--some--model/refs/main").write_text("c" * 40)
    (snapshot / "a.pt").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    weights = PeerWeights("some/model", ["a.pt"], random_weights=False)
    assert (weights.source, weights.facts["revision"]) == ("some/model", "c" * 40)
    assert weights.facts["files"] == {"a.pt": sha256_of(snapshot / "a.pt")}
    with pytest.raises(WeightsAbsent, match="some/model"):
        PeerWeights("some/model", ["a.pt", "b.pt"], random_weights=False)


@peers
@pytest.mark.slow
def test_a_head_over_a_frozen_tower_is_trained_and_embeds_files(tiny_cohort: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = yaml.safe_load(TINY)
    config["data"] |= {"size": [32, 32, 32], "spacing": [2, 2, 2]}
    config["model"]["volume_encoder"] = {
        "class_path": "bimcvr.models.ColipriVolume",
        "init_args": {"projected": False, "random_weights": True, "reduced": peer_files.COLIPRI},
    }
    (tmp_path / "head.yaml").write_text(yaml.safe_dump(config))
    options = ["--config", str(tmp_path / "head.yaml"), "--data.manifest", str(tiny_cohort)]
    assert main(["fit", *options, "--trainer.max_epochs", "1", "--runs", str(tmp_path / "runs")]) == 0
    checkpoint = newest_run(tmp_path / "runs") / "checkpoints/best.ckpt"
    names = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert not [name for name in names if name.startswith("volume_encoder")]
    embedder = Embedder(checkpoint, device="cpu")
    vector = embedder.embed_file(tiny_cohort.parent / "s3.nii.gz")
    assert vector.shape == (12,)
    assert embedder.names()["volume_encoder"] == "ColipriVolume(random weights)"


@peers
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ColipriVolume", {"reduced": peer_files.COLIPRI, "projected": False}),
        ("SpectreVolume", {"reduced": peer_files.SPECTRE, "size": [64, 128, 128], "spacing": [1, 0.5, 0.5]}),
        ("MerlinVolume", {"reduced": peer_files.MERLIN}),
    ],
)
def test_class_path_in_yaml(name: str, arguments: dict[str, Any]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "tower")
    given = {"class_path": f"bimcvr.models.{name}", "init_args": {"random_weights": True, **arguments}}
    tower = parser.instantiate_classes(parser.parse_object({"tower": given})).tower
    assert tower.projected == arguments.get("projected", True)
    assert tower.wanted.size == tuple(arguments.get("size", tower.wanted.size))


@peers
def test_spectre_s_size_is_made_of_whole_crops() -> None:
    with pytest.raises(UserError, match=r"size is \[96, 224, 224\]: .* multiples of \[64, 128, 128\]"):
        spectre.SpectreVolume(size=(96, 224, 224), random_weights=True, reduced=peer_files.SPECTRE)
    with pytest.raises(UserError, match="the place of the text"):
        spectre.SpectreText(form="Findings: ")
