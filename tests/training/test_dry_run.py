"""The dry run: what it says is what a fit would do, and it leaves nothing behind."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.models.profiling.memory import footprint
from bimcvr.training.dry_run import DryRunCLI, precision_of, steps_in_all
from bimcvr.training.lightning_cli import command_line
from bimcvr.training.trainer_options import world_size
from helpers.cli import newest_run


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["dry-run", *words]) == 0
    return capsys.readouterr().out


def test_it_counts_what_fit_does_and_leaves_nothing(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path for path in tmp_path.rglob("*")}
    told = said(capsys, *tiny_config)
    assert {path for path in tmp_path.rglob("*")} == before
    assert re.search(r"volume_encoder +984 +0\n", told)  # 4 · 27 + 4 and 8 · 4 · 27 + 8
    assert "cache: 30 volumes × 0.0 MB" in told
    assert "steps: 4 an epoch of 4 studies × 1 processes, 8 in all" in told
    assert main(["fit", *tiny_config]) == 0
    logs = pd.read_csv(next(newest_run(tmp_path / "runs").glob("logs/version_0/metrics.csv")))
    assert logs["step"].max() == 8 - 1


def test_accumulated_batches_make_fewer_steps(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as Lightning does: an epoch's last batches are a step, however few."""
    options = [*tiny_config, "--trainer.accumulate_grad_batches", "3"]
    told = said(capsys, *options, "--peak_tflops", "1e-6")
    assert "steps: 2 an epoch of 4 studies × 1 processes × 3 batches, 4 in all" in told
    assert main(["fit", *options]) == 0
    assert torch.load(newest_run(tmp_path / "runs") / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    plain = said(capsys, *tiny_config, "--peak_tflops", "1e-6")
    assert told.splitlines()[-1] == plain.splitlines()[-1], "as many passes, as much time"


@pytest.mark.parametrize(
    ("epochs", "steps", "total"),
    [
        (5, -1, 20),
        (5, 7, 7),
        (1, 7, 4),
        (-1, 7, 7),
        (None, 7, 7),
        (None, -1, 4000),
    ],
)
def test_the_end_is_the_trainer_s(epochs: int | None, steps: int, total: int) -> None:
    assert steps_in_all(4, epochs, steps) == total


def test_it_refuses_what_fit_refuses(tiny_config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for words, named in (
        (["--trainer.max_epochs", "-1"], "trainer.max_steps"),
        (["--trainer.precision", "bf16-true"], "trainer.precision"),
        (["--trainer.limit_train_batches", "0.2"], "trainer.limit_train_batches"),
        (["--data.batch_size", "1"], "no negatives"),
        (["--model.optimizer", "torch.optim.LBFGS"], "LBFGS"),
        (["--trainer.default_root_dir", "x"], "trainer.default_root_dir"),
        (["--experiment", "../x"], "experiment is '../x'"),
    ):
        capsys.readouterr()
        assert main(["dry-run", *tiny_config, *words]) == 1
        assert named in capsys.readouterr().err


def test_limits_count_as_in_fit(tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of four batches an epoch: three, and half of them two at a time."""
    for limit, together, epoch in (("3", "2", 2), ("0.5", "2", 1), ("9", "1", 4)):
        words = ["--trainer.limit_train_batches", limit, "--trainer.accumulate_grad_batches", together]
        told = said(capsys, *tiny_config, *words, "--trainer.max_time", "00:01:00:00")
        assert f"steps: {epoch} an epoch" in told
        assert f"{2 * epoch} in all, unless trainer.max_time 00:01:00:00 ends them before" in told
        assert main(["fit", *tiny_config, *words, "--runs", str(tmp_path / limit)]) == 0
        last = torch.load(newest_run(tmp_path / limit) / "checkpoints/last.ckpt", weights_only=True)
        assert last["global_step"] == 2 * epoch


def test_the_precision_is_the_trainer_s() -> None:
    assert [precision_of(name, "auto") for name in (None, 16, "bf16", "64", "16-mixed")] == [
        "32-true",
        "16-mixed",
        "bf16-mixed",
        "64-true",
        "16-mixed",
    ]
    assert precision_of("16", "cpu") == "bf16-mixed"


def test_double_precision_needs_twice_the_memory(tiny_config: list[str]) -> None:
    def needs(precision: str) -> int:
        cli = command_line(["fit", *tiny_config, "--trainer.precision", precision], DryRunCLI)
        if precision == "64-true":
            cli.model.double()
        return footprint(cli.model, 4, 2, (12, 16, 16), precision).total

    assert needs("64-true") == pytest.approx(2 * needs("32-true"), rel=0.02)


def test_a_zero_shot_model_is_refused(tiny_config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    nothing = [
        "--model.map_volumes",
        "false",
        "--model.embed_dim",
        "null",
        "--model.fusion",
        "bimcvr.models.FirstView",
        "--model.volume_encoder",
        "helpers.toy_modules.FixedConv",
        "--model.volume_encoder.init_args.dim",
        "16",
        "--model.objective",
        "null",
    ]
    assert main(["dry-run", *tiny_config, *nothing]) == 1
    assert "nothing to train" in capsys.readouterr().err


def test_a_trained_text_tower_is_said_not_to_be_counted(
    tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "text tower" not in said(capsys, *tiny_config)
    tuned = [
        "--model.text_encoder",
        "bimcvr.models.TunedText",
        "--model.text_encoder.init_args.encoder",
        "bimcvr.models.MiniLM",
    ]
    told = said(capsys, *tiny_config, *tuned)
    (line,) = [line for line in told.splitlines() if "text tower" in line]
    count = re.search(r"text_encoder +([\d,]+)", told).group(1)  # type: ignore[union-attr]
    assert f"not counted below: the text tower is trained ({count} parameters)" in line


def test_more_processes_make_fewer_steps_and_more_gradients(
    tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    two = said(capsys, *tiny_config, "--trainer.devices", "2", "--trainer.strategy", "ddp")
    assert "steps: 2 an epoch of 4 studies × 2 processes" in two
    assert "DDP's buckets" in two
    lean = said(
        capsys,
        *tiny_config,
        "--trainer.devices",
        "8",
        "--trainer.num_nodes",
        "2",
        "--data.batch_size",
        "1",
        "--config",
        str(Path(__file__).parents[2] / "src/bimcvr/experiments/bimcv_r/eight_gpus.yaml"),
    )
    assert "1 studies × 16 processes" in lean
    assert "DDP's buckets" not in lean
    assert main(["dry-run", *tiny_config, "--trainer.devices", "8"]) == 1
    assert "Set data.batch_size to 2 or less" in capsys.readouterr().err


def test_time_is_an_estimate_only_from_what_is_stated(
    tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    without = said(capsys, *tiny_config)
    assert "time: not estimated" in without
    stated = said(capsys, *tiny_config, "--peak_tflops", "1e-6", "--mfu", "0.5")
    operations = float(re.search(r"operations: ([\d.e-]+)", stated).group(1)) * 1e12  # type: ignore[union-attr]
    seconds = float(re.search(r"time, estimate: ([\d.e-]+) s a step at 50%", stated).group(1))  # type: ignore[union-attr]
    assert seconds == pytest.approx(operations / (1e6 * 0.5), rel=0.01)
    measured = said(capsys, *tiny_config, "--measure", "true")
    assert re.search(r"time, measured: [\d.]+ s a step on cpu", measured)
    assert "estimate" not in "\n".join(line for line in measured.splitlines() if line.startswith("time"))


def test_a_mistake_ends_as_in_fit(tiny_config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dry-run", *tiny_config, "--model.embed_dims", "3"]) == 1
    assert "'model.embed_dim'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("devices", "nodes", "count"), [(8, 1, 8), ("8", 2, 16), ([0, 1, 2], 1, 3), ("0,1", 1, 2), (1, 4, 4)]
)
def test_the_number_of_processes(devices: object, nodes: int, count: int) -> None:
    assert world_size(devices, nodes) == count


def test_devices_that_are_no_number_are_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.devices is 'many'"):
        world_size("many", 1)
