"""torch.compile for whatever volume encoder a YAML names."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class CompileVolumeEncoder(Callback):
    """Compile the volume encoder in place: the names in checkpoints stay, so that a run can go on with it or without.

    Args:
        backend: of torch.compile; inductor makes kernels, aot_eager and eager only trace.
        dynamic: compile once for all batch sizes; by default a second size makes a second graph.
    """

    def __init__(self, backend: str = "inductor", dynamic: bool | None = None) -> None:
        self.options: dict[str, Any] = {"backend": backend, "dynamic": dynamic}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the encoder; it is traced when the first batch comes, after the strategy has placed it."""
        encoder: Any = pl_module.volume_encoder
        encoder.compile(**self.options)
