"""What Lightning and W&B say although it does not apply, and what they leave out although it does."""

import logging
import warnings
from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.extras import is_installed
from bimcvr.training.quiet import PartsSummary, quieten
from bimcvr.training.run_record import run_loggers


def test_the_table_of_parts_has_no_operations_that_nobody_counted(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [(" ", ["0"]), ("Name", ["fusion"]), ("Type", ["ChannelGate"]), ("Params", ["8"]), ("FLOPs", ["0"])]
    PartsSummary.summarize(
        parts, total_parameters=10, trainable_parameters=8, model_size=0.0, total_training_modes={}, total_flops=0
    )
    told = capsys.readouterr().out
    assert "ChannelGate" in told
    assert "parameters: 10, of which 8 are trained" in told
    assert "flops" not in told.lower()


def test_a_prediction_without_a_return_value_is_no_warning() -> None:
    with warnings.catch_warnings(record=True) as seen:
        quieten()
        warnings.warn("predict returned None if it was on purpose, ignore this warning...", stacklevel=1)
    assert not seen


def test_the_table_of_parts_is_no_news_to_lightning(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    logger.addHandler(caplog.handler)
    logger.info("Trainer already configured with model summary callbacks: [<class 'PartsSummary'>]. Skipping …")
    logger.info("split exact")
    logger.removeHandler(caplog.handler)
    assert set(caplog.messages) == {"split exact"}


def test_wandb_is_given_no_setting_that_it_warns_of(tmp_path: Path) -> None:
    _, logger = run_loggers(tmp_path / "mine/run", None)
    assert "anonymous" not in logger._wandb_init  # type: ignore[attr-defined]


@pytest.mark.skipif(is_installed("tensorboard"), reason="TensorBoard is installed")
def test_an_absent_tensorboard_is_named_as_an_extra(tiny_config: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--trainer.logger", "pytorch_lightning.loggers.TensorBoardLogger", "--trainer.logger.save_dir", "x"]
    assert main(["dry-run", *tiny_config, *words]) == 1
    assert "TensorBoardLogger needs the extra 'tensorboard': pip install" in capsys.readouterr().err
