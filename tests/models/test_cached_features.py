"""Features of a frozen encoder: computed once a volume, the same as without the cache, never another encoder's."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bimcvr.cli import main
from bimcvr.contracts import Features, VolumeEncoder
from bimcvr.models import CachedFeatures, ResNet3D
from helpers.cli import newest_run


class Counting(VolumeEncoder):
    """Two tokens a volume; counts the volumes that it is given."""

    def __init__(self, factor: float = 2.0, weight: float = 1.0) -> None:
        super().__init__()
        self.dim, self.factor, self.seen = 3, factor, 0
        self.weight = torch.nn.Parameter(torch.full((3,), weight))

    def forward(self, volume: Tensor) -> Features:
        self.__dict__["_count"] = self.__dict__.get("_count", 0) + len(volume)
        mean = volume.flatten(1).mean(1, keepdim=True) * self.factor * self.weight
        return Features(mean, torch.stack([mean, 3 * mean], dim=1))

    @property
    def count(self) -> int:
        return int(self.__dict__.get("_count", 0))


def volumes(count: int) -> Tensor:
    return torch.rand(count, 1, 4, 5, 6, generator=torch.Generator().manual_seed(0))


def test_each_volume_is_encoded_once_and_again_never(tmp_path: Path) -> None:
    encoder, batch = Counting(), volumes(3)
    cached = CachedFeatures(encoder, tmp_path)
    first = cached(batch)
    plain = Counting()(batch)
    assert torch.equal(first.cls, plain.cls)
    assert torch.equal(first.tokens, plain.tokens.mean(1, keepdim=True))
    assert not first.cls.requires_grad
    cached(batch.flip(0))
    assert encoder.count == 3
    again = Counting()  # another run
    assert torch.equal(CachedFeatures(again, tmp_path)(batch).cls, first.cls)
    assert again.count == 0


@pytest.mark.parametrize("other", [{"factor": 3.0}, {"weight": 2.0}])
def test_another_encoder_has_features_of_its_own(tmp_path: Path, other: dict[str, float]) -> None:
    CachedFeatures(Counting(), tmp_path)(volumes(1))
    changed = Counting(**other)
    assert torch.equal(CachedFeatures(changed, tmp_path)(volumes(1)).cls, Counting(**other)(volumes(1)).cls)


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    first = CachedFeatures(Counting(), tmp_path)(volumes(1)).cls
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    assert torch.equal(CachedFeatures(Counting(), tmp_path)(volumes(1)).cls, first)
    assert torch.equal(CachedFeatures(Counting(), tmp_path)(volumes(1)).cls, first)


def test_the_encoder_is_frozen_and_out_of_checkpoints(tmp_path: Path) -> None:
    cached = CachedFeatures(ResNet3D(depth=10, width=4), tmp_path)
    assert not list(cached.parameters())
    assert not cached.state_dict()
    cached.train()
    assert not cached.encoder.training
    assert cached.source == "frozen ResNet3D"


HEAD = [
    "--model.volume_encoder",
    "{class_path: bimcvr.models.CachedFeatures, init_args: {encoder: {class_path: helpers.toy_modules.FixedConv,"
    " init_args: {dim: 16}}, folder: features}}",
    "--model.fusion",
    "bimcvr.models.FirstView",
    "--data.two_views",
    "false",
    "--model.objective",
    "{class_path: bimcvr.models.Objective, init_args: {consistency: 0.0, temperature: 0.1}}",
]


def test_a_head_is_trained_on_kept_features(
    tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *tiny_config, *HEAD]) == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")}
    assert len(kept) == 16 + 7 + 1  # train, val, and the empty volume of the check at start
    assert main(["fit", *tiny_config, *HEAD, "--experiment", "again"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")} == kept
    assert main(["test", "--checkpoint", str(newest_run(tmp_path / "runs") / "checkpoints/best.ckpt")]) == 0
    capsys.readouterr()
    assert main(["fit", *tiny_config, *HEAD, "--data.view_1", "{class_path: torchio.RandomNoise}"]) == 1
    assert "CachedFeatures" in (told := capsys.readouterr().err)
    assert "data.view_1" in told
