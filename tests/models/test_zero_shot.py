"""A model with nothing to train, from the command line.

Tested without a checkpoint, refused by fit, searched slice by slice.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bimcvr.cli import main
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.metrics.per_query import per_query_values, summarize
from bimcvr.metrics.ranking.ranks import rank_scores
from bimcvr.models.volume.slice_backbones import OpenClipImage
from bimcvr.models.volume.slice_encoder import SliceEncoder
from bimcvr.models.volume.slice_pooling import Statistic
from bimcvr.models.volume.slice_retrieval import slice_scores
from helpers.cli import TINY, newest_run


@pytest.fixture
def options(clip_folder: Path, tiny_cohort: Path, tmp_path: Path) -> list[str]:
    """3D-MIR's zero-shot configuration with a small CLIP, on the tiny cohort."""
    config: dict[str, Any] = yaml.safe_load(TINY)
    config["trainer"]["max_epochs"] = 0  # as the shipped zero-shot experiments say it
    tower = {
        "class_path": "bimcvr.models.OpenClipImage",
        "init_args": {"model": str(clip_folder)},
    }
    config["model"] = {
        "map_volumes": False,
        "slice_hits": 5,
        "fusion": "bimcvr.models.FirstView",
        "volume_encoder": {
            "class_path": "bimcvr.models.SliceEncoder",
            "init_args": {"tower": tower, "join": "bimcvr.models.Statistic"},
        },
        "text_encoder": {
            "class_path": "bimcvr.models.OpenClipText",
            "init_args": {"model": str(clip_folder)},
        },
    }
    (tmp_path / "zero.yaml").write_text(yaml.safe_dump(config))
    return [
        "--config",
        str(tmp_path / "zero.yaml"),
        "--data.manifest",
        str(tiny_cohort),
        "--runs",
        str(tmp_path / "runs"),
    ]


def test_it_is_tested_without_a_checkpoint_and_says_so(
    options: list[str], clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *options]) == 0
    run = newest_run(tmp_path / "runs")
    result = json.loads((run / "result.json").read_text())
    assert result["about"]["zero_shot"] is True
    assert result["about"]["checkpoint"] == "none"
    assert str(clip_folder) in result["about"]["volume_encoder"]
    assert (run / "config.yaml").is_file()
    told = " ".join(capsys.readouterr().out.split())
    assert "zero-shot: nothing was trained" in told
    assert "slice by slice, 5 hits among 12 slices" in told
    search = result["slice_search"]
    assert search["direction"] == "text_to_image"
    assert set(search["freq"]["metrics"]) == set(result["metrics"]["text_to_image"])


def test_slice_search_is_made_of_the_tower_s_own_vectors(options: list[str], clip_folder: Path, tmp_path: Path) -> None:
    from bimcvr.data.loading.datamodule import CTReportDataModule

    assert main(["test", *options]) == 0
    run = newest_run(tmp_path / "runs")
    search = json.loads((run / "result.json").read_text())["slice_search"]
    data = CTReportDataModule(options[3], size=(12, 16, 16))
    data.prepare_data()
    data.setup("test")
    encoder = SliceEncoder(OpenClipImage(str(clip_folder)), Statistic())
    slices = torch.cat([encoder.embed_slices(batch["volume"]) for batch in data.test_dataloader()])
    embeddings, group = load_embeddings(run / "embeddings.npz"), torch.as_tensor(data.gallery("test").group)
    torch.testing.assert_close(slices.mean(1), embeddings.image, rtol=0, atol=1e-5)
    for how, score in slice_scores(embeddings.text, slices, 5).items():
        assert search[how]["metrics"] == pytest.approx(
            summarize(per_query_values(rank_scores(score, group, group), (1, 5, 10, 50, 100)))
        )


def test_fit_refuses_it_and_leaves_no_folder(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *options, "--trainer.max_epochs", "1"]) == 1
    assert "nothing to train" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))


def test_another_window_than_the_data_s_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", *options, "--data.window", "[-900, 900]"]) == 1
    assert "OpenClipImage has data_window" in capsys.readouterr().err


def test_weights_with_something_to_train_need_a_checkpoint(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *tiny_config]) == 1
    assert "needs a checkpoint" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))


def test_a_trained_clip_4_clip_goes_through_fit_and_test(options: list[str], clip_folder: Path, tmp_path: Path) -> None:
    """Both towers' weights are in the checkpoint, changed, and come back from it."""
    path = Path(options[1])
    config = yaml.safe_load(path.read_text())
    towers = config["model"]
    towers["slice_hits"] = None
    towers["volume_encoder"]["init_args"] |= {
        "slices": 3,
        "join": {"class_path": "bimcvr.models.SeqTransf", "init_args": {"dim": 16, "layers": 1}},
    }
    towers["volume_encoder"]["init_args"]["tower"]["init_args"]["trained"] = True
    towers["text_encoder"] = {
        "class_path": "bimcvr.models.TunedText",
        "init_args": {"encoder": towers["text_encoder"], "lr_factor": 0.1},
    }
    towers["objective"] = {
        "class_path": "bimcvr.models.Objective",
        "init_args": {"consistency": 0.0, "symmetric": True, "temperature": 0.01, "learn_temperature": True},
    }
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", *options, "--trainer.max_epochs", "1", "--data.two_views", "false"]) == 0
    run = newest_run(tmp_path / "runs")
    state = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    start = OpenClipImage(str(clip_folder), trained=True).state_dict()
    assert not torch.equal(state["volume_encoder.tower.tower.proj"], start["tower.proj"])
    assert any(name.startswith("text_encoder.tower.") for name in state)
    assert any(name.startswith("volume_encoder.join.blocks.") for name in state)
    assert main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt")]) == 0
    about = json.loads((run / "result.json").read_text())["about"]
    assert about["zero_shot"] is False
    assert "trained; 3 slices, SeqTransf" in about["volume_encoder"]
    assert about["text_encoder"] == f"TunedText({clip_folder}, trained)"
