"""A checkpoint that is loaded into another model says which option differs; one with numpy's numbers can be read."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.models.checkpoint import plain_numbers, read_checkpoint
from bimcvr.models.checkpoint_parts import _differences
from helpers.cli import newest_run


class KeepsNumpy(Callback):
    """A callback with numpy's numbers in its state, as many compute them."""

    def state_dict(self) -> dict[str, Any]:
        return {"mean": np.float64(0.5), "counts": [np.int64(3), {"seen": np.bool_(True)}]}


def test_another_model_than_the_checkpoints(tiny_config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    callback = ["--trainer.callbacks+", f"{__name__}.KeepsNumpy"]
    assert main(["fit", *tiny_config, *callback, "--trainer.max_epochs", "1"]) == 0
    last = newest_run(Path(tiny_config[-1])) / "checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["callbacks"]["KeepsNumpy"]["counts"] == [3, {"seen": True}]

    def said(verb: str, *options: str) -> str:
        capsys.readouterr()
        assert main([verb, *tiny_config, "--ckpt_path", str(last), *options]) == 1
        return " ".join(capsys.readouterr().err.split())

    assert "model.embed_dim is 10, in the checkpoint 12. The first tensor" in said("test", "--model.embed_dim", "10")
    whitened = said("validate", "--model.whiten_text", "true")
    assert "model.whiten_text is True, in the checkpoint False" in whitened
    assert "whitening.mean: (16,) here, absent in the checkpoint" in whitened
    encoder = said("predict", "--model.volume_encoder.dim", "6")
    assert "model.volume_encoder.dim is 6, in the checkpoint 8" in encoder
    more = ("--trainer.max_epochs", "2")
    optimizer = said("fit", *more, "--model.optimizer", "torch.optim.RMSprop")
    assert "model.optimizer.class_path torch.optim.AdamW, not torch.optim.RMSprop" in optimizer
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        other = ["--model.fusion", "bimcvr.models.FirstView", "--model.objective.temperature", "0.2"]
        assert main(["test", *tiny_config, "--ckpt_path", str(last), *other]) == 0
    differs = "model.fusion is bimcvr.models.FirstView, in the checkpoint bimcvr.models.ChannelGate; "
    differs += "model.objective.temperature is 0.2, in the checkpoint 0.1. Its weights fit and are used."
    assert any(differs in str(warning.message) for warning in caught)
    assert main(["fit", *tiny_config, *callback, *more, "--ckpt_path", str(last)]) == 0


def test_numpys_numbers(tmp_path: Path) -> None:
    state = {"state_dict": {}, "loss": np.float32(1.5), "mean": np.float64(2), "seen": (np.int64(3), np.arange(3))}
    torch.save(state, tmp_path / "old.ckpt")
    content = read_checkpoint(tmp_path / "old.ckpt")
    assert (content["loss"], content["mean"], content["seen"][0]) == (1.5, 2, 3)
    torch.save(plain_numbers({**state, "seen": [np.int64(3)]}), tmp_path / "new.ckpt")
    found = torch.load(tmp_path / "new.ckpt", weights_only=True)
    assert [type(found[name]) for name in ("loss", "mean")] == [float, float]
    torch.save({"state_dict": {}, "path": tmp_path}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"other.ckpt cannot be read as a checkpoint of `fit` \(UnpicklingError\)"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_an_option_that_came_later_is_no_difference() -> None:
    before = {"class_path": "Loss", "init_args": {"alpha": 1.0}}
    now = {"class_path": "Loss", "init_args": {"alpha": 1.0, "later": False}}
    assert not list(_differences("objective", before, now))
    assert list(_differences("objective", {**before, "init_args": {"alpha": 2.0}}, now))
