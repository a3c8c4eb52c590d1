"""The checkpoints of a run: the best one by a figure of `val`, and the last epoch's end."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_warn

from bimcvr.atomic_files import replacing
from bimcvr.errors import UserError
from bimcvr.metrics.per_query import KS
from bimcvr.metrics.ranking.ranks import DIRECTIONS
from bimcvr.models.checkpoint import plain_numbers, read_checkpoint, refuse_not_finite, refuse_unreadable

LOWER_IS_BETTER = ("MdR", "MnR")


class Progress(NamedTuple):
    """How far the training of a checkpoint has come.

    Attributes:
        epochs: epochs that were begun.
        steps: steps of the optimiser.
        resumable: whether it was written at the end of a whole epoch, with the optimiser's state.
        stopped: whether something other than the number of epochs or steps ended the training, such as
            `trainer.max_time`.
    """

    epochs: int
    steps: int
    resumable: bool
    stopped: bool


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's writer goes through /tmp, which may be another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint whole or not at all."""
        refuse_unreadable(checkpoint.get("callbacks", {}), checkpoint["state_dict"])
        # through a stream: its errors tell a full disk
        with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
            torch.save(plain_numbers(checkpoint), stream)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; weights that are not finite are refused (UserError)."""
        content = read_checkpoint(Path(path), mmap=False)
        refuse_not_finite(Path(path), content["state_dict"])
        return content


class RunCheckpoints(Checkpoint):
    """Keeps `checkpoints/best.ckpt` and `checkpoints/last.ckpt` in the run folder.

    `best.ckpt` has the weights of the best validation, the first of equals; its score is in the file, so it stays the
    best after a resume, in a moved or copied folder too. `last.ckpt` is written at the end of every epoch, and `fit`
    goes on from it at the start of the next.

    Args:
        monitor: the figure of `val` that decides which weights are the best.
        mode: whether its highest or its lowest value is the best.
    """

    def __init__(self, monitor: str = "val/score", mode: Literal["min", "max"] = "max") -> None:
        self.monitor, self.mode = monitor, mode
        self.best_score: float | None = None
        self._folder = Path()
        self._writes_best = self._at_epoch_end = self._trained = False
        self._patience: dict[EarlyStopping, int] = {}

    @property
    def best(self) -> Path:
        """The file of the best weights."""
        return self._folder / "best.ckpt"

    @property
    def last(self) -> Path:
        """The file of the last epoch."""
        return self._folder / "last.ckpt"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder, which only the first process chooses, and read the best score in it."""
        self._folder = Path(trainer.strategy.broadcast(str(Path(trainer.default_root_dir) / "checkpoints")))
        if stage == "fit" and self.best.is_file():
            self.best_score = _state(_read_best(self.best), self.best)["score"]
        self._patience = {
            item: item.patience
            for item in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(item, EarlyStopping)
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say where a resumed run has lost its best weights."""
        if trainer.state.fn == "fit" and self.best_score is None and checkpoint.get("run", {}).get("score") is not None:
            rank_zero_warn(
                f"{self.best} is gone, whose score was {checkpoint['run']['score']:.4g}: it becomes the best epoch from"
                " here on, which may be worse."
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse figures that `val` does not have, now that refused volumes have left it."""
        refuse_unlogged(trainer.callbacks, len(trainer.datamodule.split.rows("val")))  # type: ignore[attr-defined]

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Refuse to wait for a figure of the training that its first batch did not log."""
        if self._trained:
            return
        self._trained = True
        for option, callback in _monitoring(trainer.callbacks):  # type: ignore[attr-defined]
            if callback.monitor.startswith("train/") and callback.monitor not in trainer.callback_metrics:
                raise _not_logged(option, callback.monitor, trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `best.ckpt` if this validation is the best one so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self.monitor not in trainer.callback_metrics:
            raise _not_logged("checkpoint.monitor", self.monitor, trainer.callback_metrics)
        score = float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(score) or (self.best_score is not None and not self._improves(score, self.best_score)):
            return
        self.best_score = score
        self._writes_best = True
        trainer.save_checkpoint(self.best)
        self._writes_best = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `last.ckpt`, after the figures of the epoch: what is resumed has them on disk."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for logger in trainer.loggers:
            logger.save()
        self._at_epoch_end = True
        trainer.save_checkpoint(self.last)
        self._at_epoch_end = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the run's state; leave in `best.ckpt` only what evaluation needs, and make `last.ckpt` an epoch's end."""
        batches = trainer.fit_loop.epoch_loop.batch_progress
        whole = batches.is_last_batch or batches.current.ready >= trainer.num_training_batches
        checkpoint["run"] = {
            "monitor": self.monitor,
            "mode": self.mode,
            "score": self.best_score,
            "resumable": self._at_epoch_end and whole,
            "stopped": trainer.should_stop,
        }
        if self._writes_best:
            for name in ("optimizer_states", "lr_schedulers", "loops", "callbacks"):
                del checkpoint[name]
        elif self._at_epoch_end:
            # Lightning counts an epoch as completed only after this hook: a resumed run would end it a second time
            for part in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                part["completed"] = part["processed"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a resumed run with an ordinary epoch: Lightning would look for the rest of an unfinished one.

        The configuration's patience holds, not the checkpoint's, which Lightning has restored.
        """
        states = {item.state_key: item.state_dict() for item in trainer.callbacks}  # type: ignore[attr-defined]
        refuse_unreadable(states, pl_module.state_dict())
        for stopping, patience in self._patience.items():
            stopping.patience = patience
        trainer.fit_loop.restarting = False

    def _improves(self, score: float, best: float) -> bool:
        return score > best if self.mode == "max" else score < best


def progress_of(checkpoint: Path) -> Progress:
    """Read how far the training of a checkpoint has come.

    Raises:
        UserError: it is not a checkpoint of `fit`.
    """
    content = read_checkpoint(checkpoint)
    run = _state(content, checkpoint)
    return Progress(content["epoch"] + 1, content["global_step"], run["resumable"], run["stopped"])


def refuse_unlogged(callbacks: Sequence[Callback], val_size: int, limit_val: float | None = None) -> None:
    """Refuse figures of `val` that a checkpoint or an early stopping would be decided by, and that are never logged.

    Args:
        callbacks: those of the trainer; where one is the user's own, it may log any figure.
        val_size: the rows of `val`.
        limit_val: `trainer.limit_val_batches`; at 0 an early stopping has nothing to watch.

    Raises:
        UserError: a figure is not logged, or its best value is not the one that is looked for.
    """
    names = [*(f"R@{k}" for k in KS if k <= val_size), "MRR", *LOWER_IS_BETTER]
    known = {"val/score", *(f"val/{direction}/{name}" for direction in DIRECTIONS for name in names)}
    for option, callback in _monitoring(callbacks):
        monitor, stops = callback.monitor, isinstance(callback, EarlyStopping)
        if stops and not monitor.startswith("val/"):
            continue  # of the training; its names depend on the loss
        if monitor not in known:
            if any(type(item).__module__.split(".")[0] not in ("pytorch_lightning", "bimcvr") for item in callbacks):
                continue
            raise _not_logged(option, monitor, known)
        if stops and limit_val == 0:
            raise UserError(f"{option} is {monitor}, and trainer.limit_val_batches is 0: `val` is never scored.")
        lowest = monitor.endswith(LOWER_IS_BETTER)
        if lowest != (callback.mode == "min"):
            raise UserError(
                f"The best {monitor} is the {'lowest' if lowest else 'highest'}: set"
                f" {option.replace('monitor', 'mode')} to {'min' if lowest else 'max'}."
            )


def missing_checkpoints(trainer: Trainer) -> str:
    """Return a line on the checkpoints that a `fit` did not leave behind, empty where both are there."""
    kept = next(callback for callback in trainer.checkpoint_callbacks if isinstance(callback, RunCheckpoints))
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return "trainer.fast_dev_run tries a few batches out: it leaves no checkpoint."
    if not kept.last.is_file():
        return "There is no checkpoint: nothing was trained (max_epochs, max_steps or limit_train_batches is 0)."
    if not kept.best.is_file():
        return (
            "There is no best.ckpt: training ended without a score on val (trainer.limit_val_batches is 0, or the end"
            f" came before the first validation). Test the last epoch: --checkpoint {kept.last}"
        )
    return ""


def _read_best(best: Path) -> dict[str, Any]:
    try:
        return read_checkpoint(best)
    except UserError as error:
        raise UserError(
            f"The run to go on with has a damaged {best}: {error} Or remove it: the best of the epochs from here on"
            " takes its place."
        ) from error


def _state(content: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] | None = content.get("run")
    if state is None:
        raise UserError(
            f"{checkpoint} was not written by this version's `fit`, which could go on from it. Start a new run with its"
            " weights: --init_from in place of --checkpoint."
        )
    return state


def _monitoring(callbacks: Sequence[Callback]) -> Iterator[tuple[str, RunCheckpoints | EarlyStopping]]:
    """Yield each callback that waits for a figure, after the name of the option that says which."""
    for callback in callbacks:
        if isinstance(callback, RunCheckpoints):
            yield "checkpoint.monitor", callback
        elif isinstance(callback, EarlyStopping):
            yield "trainer.callbacks: the monitor of EarlyStopping", callback


def _not_logged(option: str, monitor: str, known: Iterable[str]) -> UserError:
    return UserError(f"{option} is '{monitor}', which is not logged. Choose one of {', '.join(sorted(known))}.")
