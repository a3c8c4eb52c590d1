"""Advice of Lightning that does not apply here."""

import logging
import warnings

_LOGGED = (
    "litlogger",
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
)


def quieten() -> None:
    """Silence advice that does not apply to this project's runs; a second call in one process adds nothing."""
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").addFilter(_applies)  # one function is added once
    for text in _WARNED:
        warnings.filterwarnings("ignore", message=text)


def _applies(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(text in message for text in _LOGGED)
