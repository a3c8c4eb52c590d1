"""torch.compile for any volume encoder."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class CompileVolumeEncoder(Callback):
    """Compile the volume encoder in place: names in checkpoints stay, so a run can resume with or without it.

    Args:
        backend: torch.compile's backend; inductor generates kernels, aot_eager and eager only trace.
        dynamic: compile once for all batch sizes; by default a second size makes a second graph.
    """

    def __init__(self, backend: str = "inductor", dynamic: bool | None = None) -> None:
        self.options: dict[str, Any] = {"backend": backend, "dynamic": dynamic}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the encoder for compilation at its first batch, after the strategy has moved it to its device."""
        encoder: Any = pl_module.volume_encoder
        encoder.compile(**self.options)
