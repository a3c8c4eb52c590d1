"""Refuses to evaluate rows that the model was trained on."""

from pytorch_lightning import Callback, LightningModule, Trainer

from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.data.trained_rows import refuse_seen


class SplitGuard(Callback):
    """Compares the rows that are evaluated with those that the checkpoint's model was trained on.

    Args:
        allow: evaluate them all the same; the result then says how many there are.
    """

    def __init__(self, allow: bool = False) -> None:
        self.allow = allow

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the rows that this training will be evaluated on: the weights it begins with may know them."""
        for split in ("val", "test"):
            self._check(trainer, split)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check `val`."""
        if trainer.state.fn == "validate":
            self._check(trainer, "val")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check `test`."""
        self._check(trainer, "test")

    def _check(self, trainer: Trainer, split: str) -> None:
        data: CTReportDataModule = trainer.datamodule  # type: ignore[attr-defined]
        rows = data.split.rows(split)
        seen = data.seen(rows)
        if self.allow or seen is None:
            return
        study_id = data.manifest.column("study_id")
        refuse_seen(
            seen,
            [study_id[row] for row in rows],
            f"The split '{split}' of {data.manifest.path} is not the one of the model's training",
            "Take the split of its run, whose manifest.csv and config.yaml have it; or add --allow_trained_rows true,"
            " and the result will say so.",
        )
