"""The table of the Trainer's options in docs/trainer.md: each row is tried with the values that it names."""

import copy
import importlib.util
import inspect
import logging
import re
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import yaml
from pytorch_lightning import Trainer
from wandb.errors import UsageError

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.training.dry_run import DryRunCLI
from bimcvr.training.lightning_cli import command_line
from bimcvr.training.lightning_errors import run_errors
from bimcvr.training.quiet import quieten
from bimcvr.training.trainer_options import CALLBACKS, refuse_seldom_validation, unsupported
from helpers.cli import ROOT, newest_run

PAGE = (ROOT / "docs/trainer.md").read_text(encoding="utf-8")
STOP = ["--trainer.callbacks+=EarlyStopping"]
# other devices, other processes and W&B, which other tests run; the length of a run
NOT_TRAINED_WITH = {"accelerator", "strategy", "logger", "max_epochs", "max_steps"}


def rows(heading: str, columns: int) -> list[list[str]]:
    """The rows of the table below a heading."""
    section = PAGE.split(heading, 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [[*line, ""][:columns] for line in lines]


def values(cell: str) -> list[str]:
    """The values that a cell names."""
    return re.findall(r"`([^`]+)`", cell)


TABLE = {values(option)[0]: (values(good), values(bad)) for option, good, bad in rows("# The Trainer's options", 3)}


@pytest.fixture
def settings(tiny_config: list[str]) -> Any:
    """The configuration's `trainer` with its default values."""
    return command_line(["fit", *tiny_config], DryRunCLI).config["fit"].trainer


def with_value(settings: Any, option: str, text: str) -> Any:
    changed = copy.deepcopy(settings)
    changed[option] = yaml.safe_load(text)
    return changed


def refusal(settings: Any) -> str:
    return "\n".join(unsupported(settings))


def test_the_table_has_every_option_of_the_trainer() -> None:
    assert set(TABLE) == set(inspect.signature(Trainer).parameters)


def test_a_refused_value_ends_in_one_message(
    settings: Any, tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    left_to_lightning = []
    for option, (_, refused) in TABLE.items():
        for value in refused:
            if message := refusal(with_value(settings, option, value)):
                assert f"trainer.{option}" in message
            else:
                left_to_lightning.append((option, value))
    for option, value in left_to_lightning:
        capsys.readouterr()
        assert main(["fit", *tiny_config, f"--trainer.{option}", value]) == 1, (option, value)
        message = capsys.readouterr().err.strip().rsplit("\n\n", 1)[-1]
        assert option in message, message
        assert message.startswith("bimcvr fit:")


def test_supported_values_train(settings: Any, tiny_config: list[str], tmp_path: Path) -> None:
    for option, (supported, _) in TABLE.items():
        for value in supported:
            assert not refusal(with_value(with_value(settings, "max_steps", "7"), option, value))
    for turn in range(4):
        words = [
            f"--trainer.{option}={supported[turn]}"
            for option, (supported, _) in TABLE.items()
            if len(supported) > turn and option not in NOT_TRAINED_WITH
        ]
        assert words
        runs = tmp_path / f"turn{turn}"
        assert main(["fit", *tiny_config, *words, "--trainer.max_epochs=2", "--runs", str(runs)]) == 0
        assert (newest_run(runs) / "checkpoints/last.ckpt").is_file()


def test_callbacks_of_the_table_are_refused(settings: Any) -> None:
    named = [name for row in rows("## Callbacks", 2) for name in values(row[0])]
    assert set(named) == set(CALLBACKS)
    for name in named:
        assert name in refusal(with_value(settings, "callbacks", f"[pytorch_lightning.callbacks.{name}]"))


def test_one_callback_as_a_mapping_and_a_second_one_appended(tiny_config: list[str], tmp_path: Path) -> None:
    for number, name in enumerate(("EarlyStopping, init_args: {monitor: val/score, mode: max}", "LearningRateMonitor")):
        plus = "+" * number
        (tmp_path / f"{number}.yaml").write_text(f"trainer: {{callbacks{plus}: {{class_path: {name}}}}}\n")
    files = [word for number in range(2) for word in ("--config", str(tmp_path / f"{number}.yaml"))]
    assert main(["fit", *tiny_config, *files, "--trainer.max_epochs", "1"]) == 0
    config = yaml.safe_load((newest_run(tmp_path / "runs") / "config.yaml").read_text())
    kept = [item["class_path"].rpartition(".")[2] for item in config["trainer"]["callbacks"]]
    assert kept == ["EarlyStopping", "LearningRateMonitor"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"], "no metric val_loss"),
        (["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=train/nothing"], "train/L_sim"),
        (["--trainer.max_time=00:00:00:00"], "more than none"),
        (["--trainer.min_epochs=5"], "ends the training before"),
        (["--trainer.val_check_interval=0"], "a share of an epoch"),
        (["--trainer.val_check_interval=00:00:10:00"], "a share of an epoch"),
        (["--model.optimizer.init_args.lr=1e400"], "learning rate is inf"),
        (["--trainer.max_epochs=null", "--trainer.max_time=00:01:00:00"], "number of steps"),
        (["--trainer.limit_train_batches=0.01"], "limit_train_batches"),
        (["--model.optimizer=torch.optim.LBFGS"], "LBFGS doesn't support"),
        (["--model.optimizer=torch.optim.SparseAdam"], "SparseAdam does not support"),
        pytest.param(
            ["--model.optimizer=torch.optim.Muon"],
            "Muon only supports",
            marks=pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon"),
        ),
        (["--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=-1"], "Invalid learning rate"),
        (
            ["--trainer.logger=pytorch_lightning.loggers.TensorBoardLogger", "--trainer.logger.save_dir=t"],
            "tensorboard",
        ),
    ],
)
def test_what_cannot_be_done_ends_in_one_message(
    words: list[str], named: str, tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if "tensorboard" in named and importlib.util.find_spec("tensorboard"):
        pytest.skip("tensorboard is installed here")
    assert main(["fit", *tiny_config, *words]) == 1
    message = capsys.readouterr().err.strip().rsplit("\n\n", 1)[-1]
    assert named in message
    assert message.startswith("bimcvr fit:")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            [*STOP, "--trainer.callbacks.monitor=val/loss"],
            "monitor of EarlyStopping is 'val/loss', which is not logged",
        ),
        ([*STOP, "--trainer.callbacks.monitor=val/score"], "the mode of EarlyStopping to max"),
        ([*STOP, "--trainer.callbacks.monitor=val/score", "--trainer.limit_val_batches=0"], "`val` is never scored"),
        (["--trainer.val_check_interval=5"], "is 5 batches, and an epoch has 4"),
        (["--trainer.val_check_interval=3", "--trainer.limit_train_batches=0.5"], "is 3 batches, and an epoch has 2"),
        (["--checkpoint.monitor=val/loss"], "'val/loss', which is not logged"),
    ],
)
def test_what_would_be_waited_for_in_vain_is_refused_before_a_run_is_made(
    words: list[str],
    named: str,
    tiny_config: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bimcvr.data.loading.datamodule.fill_cache", Mock(side_effect=AssertionError("data are read")))
    assert main(["fit", *tiny_config, "--trainer.logger=true", *words]) == 1
    assert named in " ".join(capsys.readouterr().err.split())
    assert not list((tmp_path / "runs").glob("*/*"))


def test_a_validation_every_so_many_batches_may_be_left_to_no_epoch(settings: Any) -> None:
    refuse_seldom_validation(with_value(settings, "val_check_interval", "4"), 4)
    for option, value in (("limit_val_batches", "0"), ("check_val_every_n_epoch", "null")):
        refuse_seldom_validation(with_value(with_value(settings, "val_check_interval", "5"), option, value), 4)


def test_advice_is_silenced_once_in_a_process() -> None:
    def filters() -> tuple[int, int]:
        return len(logging.getLogger("pytorch_lightning.utilities.rank_zero").filters), len(warnings.filters)

    quieten()
    before = filters()
    quieten()
    assert filters() == before


def test_double_precision_takes_the_float32_vectors_of_a_frozen_encoder(tiny_config: list[str]) -> None:
    frozen = ["--model.text_encoder=bimcvr.models.MiniLM", "--trainer.precision=64-true", "--trainer.max_epochs=1"]
    for space in ("12", "null"):
        assert main(["fit", *tiny_config, *frozen, "--model.embed_dim", space]) == 0


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "data.num_workers"),
        (
            RuntimeError("It looks like your LightningModule has parameters that were not used in producing the loss"),
            "ddp_find_unused_parameters_true",
        ),
        (torch.OutOfMemoryError("CUDA out of memory."), "data.batch_size"),
        (UsageError("api_key not configured"), "wandb login"),
    ],
)
def test_errors_of_machine_and_server_are_one_message(error: Exception, named: str) -> None:
    with pytest.raises(UserError, match=named), run_errors():
        raise error


def test_mistakes_of_code_stay_tracebacks() -> None:
    with pytest.raises(RuntimeError, match="mat1"), run_errors():
        torch.zeros(2, 3) @ torch.zeros(2, 3)
