"""Advice of Lightning that does not apply here."""

import logging
import warnings


def quieten() -> None:
    """Silence advice that does not apply to this project's runs."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
        lambda record: (
            not any(
                text in record.getMessage()
                # checkpoints are read by `SafeCheckpointIO`, which runs no code in them whatever Lightning's default is
                for text in ("litlogger", "`weights_only` was not set")
            )
        )
    )
    for text in (
        ".*is an instance of `nn.Module` and is already saved.*",
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*number of training batches.*smaller than the logging.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*args parameter is intended to run from within Python.*",
        ".*is not supported by the model summary.*",
    ):
        warnings.filterwarnings("ignore", message=text)
