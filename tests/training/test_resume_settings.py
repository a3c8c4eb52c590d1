"""What a resume changes takes effect, and what a run has lost is told."""

from pathlib import Path

import pytest
import torch

from bimcvr.cli import main
from helpers.cli import newest_run

STOPPING = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/score"]
STOPPING += ["--trainer.callbacks.mode", "max", "--trainer.callbacks.patience"]


def last_of(run: Path) -> dict[str, object]:
    state: dict[str, object] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    return state


def test_larger_batches_do_not_end_the_schedule(tiny_config: list[str], tmp_path: Path) -> None:
    assert main(["fit", *tiny_config, "--trainer.max_epochs", "3"]) == 0
    resume = ["fit", *tiny_config, "--checkpoint", "last", "--trainer.max_epochs", "6", "--data.batch_size", "8"]
    before = last_of(newest_run(tmp_path / "runs"))["state_dict"]
    assert main(resume) == 0  # 12 steps are done, and 6 epochs of 2 steps are no more than that
    after = last_of(newest_run(tmp_path / "runs"))
    assert after["global_step"] == 18
    name = "volume_encoder.layers.0.weight"
    assert not torch.equal(before[name], after["state_dict"][name])  # type: ignore[index]


def test_a_new_patience_holds(tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimcvr.models.evaluation_loop.selection_score", lambda _: torch.tensor(50.0))
    words = ["fit", *tiny_config, "--checkpoint", "last", "--trainer.max_epochs", "9", *STOPPING]
    for patience, epoch in (("1", 1), ("1", 1), ("4", 4)):
        assert main([*words, patience]) == 0
        assert last_of(newest_run(tmp_path / "runs"))["epoch"] == epoch


def test_another_start_is_refused_and_its_own_is_kept(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *tiny_config, "--trainer.max_epochs", "1"]) == 0
    run = newest_run(tmp_path / "runs")
    resume = ["fit", *tiny_config, "--checkpoint", "last", "--trainer.max_epochs", "2"]
    assert main([*resume, "--init_from", str(run / "checkpoints/best.ckpt")]) == 1
    assert "began with weights of its own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "null", "../other", "/elsewhere", "${HOME}", "a\0b"])
def test_an_experiment_is_a_folder_of_its_runs(
    tiny_config: list[str], capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "named.yaml").write_text(f"experiment: {name if name == 'null' else ascii(name)!s}\n".replace("'", '"'))
    assert main(["fit", *tiny_config, "--config", str(tmp_path / "named.yaml")]) == 1
    assert "experiment is" in capsys.readouterr().err


def test_lost_and_damaged_files_of_a_run_are_told(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *tiny_config, "--trainer.max_epochs", "1"]) == 0
    run = newest_run(tmp_path / "runs")
    resume = ["fit", *tiny_config, "--checkpoint", "last", "--trainer.max_epochs"]
    (run / "checkpoints/best.ckpt").unlink()
    with pytest.warns(UserWarning, match=r"best.ckpt is gone, whose score was"):
        assert main([*resume, "2"]) == 0
    capsys.readouterr()
    for name, told in (
        ("checkpoints/best.ckpt", "Or remove it"),
        ("manifest.csv", "which says what this run was trained on, is damaged"),
        ("checkpoints/last.ckpt", "take best.ckpt beside it"),
    ):
        content = (run / name).read_bytes()
        (run / name).write_bytes(b"")
        assert main([*resume, "3"]) == 1, name
        assert told in " ".join(capsys.readouterr().err.split())
        (run / name).write_bytes(content)
