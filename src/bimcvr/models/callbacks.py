"""torch.compile for any volume encoder."""

from typing import Any

import torch
from packaging.version import Version
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm

from bimcvr.errors import UserError


class CompileVolumeEncoder(Callback):
    """Compile the volume encoder in place: names in checkpoints stay, so a run can resume with or without it.

    Args:
        backend: torch.compile's backend; inductor generates kernels, aot_eager and eager only trace.
        dynamic: compile once for all batch sizes; by default a second size makes a second graph.

    Raises:
        UserError: at the start of a run, where this torch would move BatchNorm's statistics twice a step.
    """

    def __init__(self, backend: str = "inductor", dynamic: bool | None = None) -> None:
        self.options: dict[str, Any] = {"backend": backend, "dynamic": dynamic}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the encoder for compilation at its first batch, after the strategy has moved it to its device."""
        encoder: Any = pl_module.volume_encoder
        normalises = any(isinstance(part, _BatchNorm) for part in encoder.modules())
        recomputes = any(getattr(part, "checkpointing", False) for part in encoder.modules())
        if recomputes and normalises and Version(torch.__version__) < Version("2.9"):
            raise UserError(
                f"torch {torch.__version__} moves the running statistics of BatchNorm twice a step where an encoder"
                " with `checkpointing` is compiled. Update torch, or leave out CompileVolumeEncoder or checkpointing."
            )
        encoder.compile(**self.options)
