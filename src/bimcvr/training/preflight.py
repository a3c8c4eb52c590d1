"""Everything that is wrong with a `fit`, found before a file is made and told at once."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pytorch_lightning import Callback
from pytorch_lightning.utilities import rank_zero_info

from bimcvr.curation.labels.manifest_labels import describe_made, with_labels
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.errors import UserError, WeightsAbsent, listed
from bimcvr.extras import MissingExtra
from bimcvr.models.optim import check_optimizer
from bimcvr.models.part_checks import check_grid
from bimcvr.models.retriever import Retriever
from bimcvr.models.start_check import check_training
from bimcvr.run_folder import is_first_process, refuse_without_checkpoint
from bimcvr.training.checkpoints import refuse_unlogged
from bimcvr.training.trainer_options import batches_an_epoch, limited, refuse_seldom_validation, world_size

Result = TypeVar("Result")


class NotMade:
    """Stands for a part of the configuration that could not be made."""


class Faults:
    """Collects what is wrong, so that all of it can be told at once."""

    def __init__(self) -> None:
        self._found: list[UserError] = []

    def add(self, messages: Iterable[str]) -> None:
        """Add messages."""
        self._found += [UserError(message) for message in messages]

    def of(self, check: Callable[..., Result], *arguments: Any, **named: Any) -> Result | None:
        """Call a check and return its result; what it refuses is kept, and None is returned."""
        try:
            return check(*arguments, **named)
        except UserError as error:
            self._found.append(error)
            return None

    def made(self, class_type: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Make a part of the configuration, or `NotMade` in its place if it or a part of it cannot be made."""
        if any(_is_not_made(value) for value in (*values, *named.values())):
            return NotMade()
        count = len(self._found)
        part = self.of(class_type, *values, **named)
        return part if len(self._found) == count else NotMade()

    def maker(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Return Lightning's way `make` to make a model or a data module, but for parts that could not be made."""

        def make_whole(class_type: type, *values: Any, applied_instantiation_links: Any, **named: Any) -> Any:
            whole = functools.partial(make, class_type, applied_instantiation_links=applied_instantiation_links)
            return self.made(whole, *values, **named)

        return make_whole

    @contextlib.contextmanager
    def told_first(self) -> Iterator[None]:
        """Tell what was found where the block fails of something else, which may well follow from it."""
        try:
            yield
        except Exception:
            self.tell()
            raise

    def tell(self) -> None:
        """Refuse the command if anything is wrong.

        Raises:
            UserError: with all of it; a single fault is raised as it was.
            WeightsAbsent: nothing but weights is absent: a benchmark then goes on without this row.
            MissingExtra: the same, of an extra.
        """
        if len(self._found) == 1:
            raise self._found[0]
        told = [f"The configuration {one}" if isinstance(one, MissingExtra) else str(one) for one in self._found]
        if all(isinstance(one, WeightsAbsent | MissingExtra) for one in self._found):
            for missing in (one for one in self._found if isinstance(one, MissingExtra)):
                raise missing
            if told:
                raise WeightsAbsent(listed(told))
        if told:
            raise UserError(listed(told))


def _is_not_made(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_not_made, value))
    return isinstance(value, NotMade) or (isinstance(value, dict) and any(map(_is_not_made, value.values())))


def refuse_other_folders(config: Any) -> None:
    """Refuse options that would move a run's files from where `best` and `last` are looked for.

    Args:
        config: the settings of a verb.

    Raises:
        UserError: one is set.
    """
    refused = {
        "trainer.default_root_dir": config.trainer.default_root_dir is not None,
        "trainer.enable_checkpointing": config.trainer.enable_checkpointing is False,
    }
    for key in (key for key, is_set in refused.items() if is_set):
        raise UserError(
            f"{key} cannot be set: a run always keeps checkpoints/best.ckpt and last.ckpt in its folder. Leave it out; "
            "--runs and --experiment choose the folder."
        )


def check_window(model: Retriever, data: CTReportDataModule) -> None:
    """Refuse an encoder that was told another window than the data's.

    Raises:
        UserError: the windows differ.
    """
    window = tuple(data.window)
    part: Any
    for part in model.modules():
        if getattr(part, "data_window", window) != window:
            raise UserError(
                f"{type(part).__name__} has data_window {list(part.data_window)}, but data.window is"
                f" {list(window)}: give the encoder's `data_window` the same two numbers."
            )


def check_fit(faults: Faults, model: Any, data: Any, trainer: Any, callbacks: Sequence[Callback]) -> int | None:
    """Look for all that would end a training later: in the model, the data's files, the split, and the options.

    Args:
        faults: where it is collected.
        model: the model, or `NotMade`.
        data: the data module, or `NotMade`.
        trainer: the configuration's `trainer`.
        callbacks: those of the configuration.

    Returns:
        How many of the volumes are in the cache already; None where that is not known.
    """
    trains = False
    if isinstance(model, Retriever):
        trains = not model.zero_shot()
        faults.of(refuse_without_checkpoint, "fit", None, model.zero_shot())
        faults.of(check_optimizer, model.optimizer)
    if isinstance(data, NotMade):
        return None
    kept = faults.of(data.look_ahead if is_first_process() else data.divide)
    processes = faults.of(world_size, trainer.devices, int(trainer.num_nodes), trainer.accelerator)
    if trains:
        faults.of(check_window, model, data)
        faults.of(check_grid, model.volume_encoder, data.grid)
        faults.of(check_training, model, data, processes or 2)
    for name in ("train", "val"):
        faults.of(data.split.refuse_empty, name, data.manifest.path)
    train, val = (len(data.split.rows(name)) for name in ("train", "val"))
    batches = faults.of(batches_an_epoch, train, data.batch_size, processes) if train and processes else None
    used = batches and faults.of(limited, batches, trainer.limit_train_batches)
    if used:
        faults.of(refuse_seldom_validation, trainer, used)
    if val:
        faults.of(refuse_unlogged, callbacks, val, trainer.limit_val_batches)
    return kept


def make_labels(data: CTReportDataModule) -> None:
    """Give a data module whose manifest has no labels those of its reports, and say so."""
    data.manifest = with_labels(data.manifest)
    if made := describe_made(data.manifest):
        rank_zero_info(made)
