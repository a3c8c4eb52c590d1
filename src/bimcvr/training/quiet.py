"""Advice and figures of Lightning that do not apply here."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelSummary
from rich.console import Console
from rich.table import Table

_LOGGED = (
    "litlogger",
    "Trainer already configured with model summary callbacks",
    # checkpoints are read by `SafeCheckpointIO`, which runs no code in them whatever Lightning's default is
    "`weights_only` was not set",
)
_WARNED = (
    ".*is an instance of `nn.Module` and is already saved.*",
    ".*does not have many workers.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*number of training batches.*smaller than the logging.*",
    ".*Checkpoint directory.*exists and is not empty.*",
    ".*args parameter is intended to run from within Python.*",
    ".*is not supported by the model summary.*",
    # timm below 1.0.23, which a peer's package asks for, on a newer torch
    ".*`torch.jit.interface` is deprecated.*",
    # embeddings are gathered over the whole split, no batch returns a prediction of its own
    "predict returned None if it was on purpose.*",
)


def quieten() -> None:
    """Silence advice that does not apply to this project's runs; a second call in one process adds nothing."""
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").addFilter(_applies)  # one function is added once
    for text in _WARNED:
        warnings.filterwarnings("ignore", message=text)


class PartsSummary(ModelSummary):
    """Lightning's table of a model's parts, without its operations: it counts them on an example alone, and says 0."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Print the table, and the parameters in all."""
        columns = [(name, cells) for name, cells in summary_data if name != "FLOPs"]
        table = Table()
        for name, _cells in columns:
            table.add_column(name.strip(), justify="right" if name == "Params" else "left")
        for row in zip(*(cells for _, cells in columns), strict=True):
            table.add_row(*row)
        console = Console()
        console.print(table)
        console.print(
            f"parameters: {int(total_parameters):,}, of which {int(trainable_parameters):,} are trained",
            highlight=False,
        )


def summary_of_parts(callbacks: Sequence[Callback], wanted: bool | None) -> list[Callback]:
    """Return the table of parts as a callback, unless none is wanted or the user has one.

    Args:
        callbacks: those of the configuration.
        wanted: `trainer.enable_model_summary`; None is Lightning's default, true.
    """
    return [] if wanted is False or any(isinstance(one, ModelSummary) for one in callbacks) else [PartsSummary()]


def _applies(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(text in message for text in _LOGGED)
