"""Writes the record of what ran, the configuration and the split, where a verb begins its work."""

from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from bimcvr.atomic_files import write_text
from bimcvr.models.retriever import Retriever
from bimcvr.parsing.trust import remember_own
from bimcvr.training.wandb_examples import run_id


class RunRecord(SaveConfigCallback):
    """Writes the resolved config and the split into the run folder, and the config to W&B.

    What a verb refuses after Lightning's `setup`, such as a wrong part or rows that were trained on, never ran: the
    record of an earlier training or test in the same folder stays as it is.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write nothing yet: the verb may still be refused."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is trained."""
        super().setup(trainer, pl_module, "fit")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is validated, unless `fit` does it."""
        if trainer.state.fn == "validate":
            super().setup(trainer, pl_module, "validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is tested."""
        super().setup(trainer, pl_module, "test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is embedded."""
        super().setup(trainer, pl_module, "predict")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the files; Lightning calls it in the first process.

        Args:
            trainer: its `default_root_dir` is the run folder.
            pl_module: the model.
            stage: fit, validate, test or predict.
        """
        run = Path(trainer.default_root_dir)
        text = self.parser.dump(self.config, skip_none=False)
        untrained = isinstance(pl_module, Retriever) and pl_module.zero_shot()
        write_text(run / ("config.yaml" if stage == "fit" or untrained else f"config_{stage}.yaml"), text)
        if stage == "fit":
            remember_own(yaml.safe_load(text))
        if stage != "predict":
            trainer.datamodule.save_split(run, stage)  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update(yaml.safe_load(text), allow_val_change=True)


def run_loggers(run: Path, configured: Any) -> list[Logger]:
    """Return a run's loggers: a CSV file always, and W&B unless the configuration says otherwise.

    Args:
        run: the run folder.
        configured: `trainer.logger`: a logger, several, a switch, or None.
    """
    # every start has its own CSV file: a resumed run must not overwrite the first one's
    csv = CSVLogger(run, name="logs")
    if configured is False:
        return [csv]
    if configured in (None, True):
        name = f"{run.parent.name}-{run.name}"
        wandb = WandbLogger(project="bimcvr", name=name[:128], id=run_id(name), save_dir=run, resume="allow")
        wandb._wandb_init.pop("anonymous", None)  # Lightning sets it to None, and W&B warns of any value
        return [csv, wandb]
    return [csv, *(configured if isinstance(configured, list) else [configured])]
