"""SIGTERM during a run of several processes."""

from pytorch_lightning import Callback, LightningModule, Trainer

from bimcvr.processes.signals import raise_on_sigterm


class EndOnSigterm(Callback):
    """End at once on SIGTERM, as everywhere else.

    Lightning's own handler, which it installs just before these hooks, ends with exit code 0 after the batch, and
    talks to the other processes from within the signal, where they may be waiting in another exchange for ever.
    """

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handler; it restores the earlier one at its end."""
        raise_on_sigterm()

    on_train_start = on_validation_start = on_test_start = on_predict_start = on_sanity_check_start
