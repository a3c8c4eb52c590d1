"""What all parts of `make gpu` share: the shapes, real or toy, the synthetic cohort, models, and parts for `fit`."""

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from synthetic_cache import write_cohort
from torch import Tensor, nn

from bimcvr.contracts import TextEncoder
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.errors import UserError
from bimcvr.models.losses.objective import Objective
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.resnet3d import ResNet3D
from bimcvr.models.volume.view_fusion import TokenAttention
from bimcvr.models.volume.vit3d import ViT3D


@dataclass(frozen=True)
class Setup:
    """The shapes of a run.

    Attributes:
        folder: for the cohorts and runs.
        toy: seconds on a CPU, in place of minutes on a GPU.
        small: small models and volumes, where compiling large ones would take too long.
    """

    folder: Path
    toy: bool
    small: bool = False

    @property
    def device(self) -> torch.device:
        """The GPU, or the CPU where there is none."""
        return torch.device("cuda" if torch.cuda.is_available() and not self.toy else "cpu")

    @property
    def size(self) -> tuple[int, int, int]:
        """The grid (D, H, W)."""
        return (8, 16, 16) if self.toy else (32, 64, 64) if self.small else (96, 224, 224)

    @property
    def batch(self) -> int:
        """Studies in a batch, each in two views."""
        return 2 if self.toy else 8

    @property
    def workers(self) -> int:
        """Processes that load data; two cores are left to the training."""
        return 0 if self.toy else max(1, min(14, len(os.sched_getaffinity(0)) - 2))

    @property
    def backend(self) -> str:
        """Of torch.compile."""
        return "eager" if self.toy else "inductor"

    def encoder(self, name: str) -> nn.Module:
        """Return a volume encoder, the same weights every time.

        Args:
            name: `ResNet-50` or `ViT-Base`.
        """
        torch.manual_seed(0)
        small = self.small or self.toy
        if name == "ResNet-50":
            return ResNet3D(10, width=4, max_pool=False) if small else ResNet3D(50)
        return ViT3D(self.size, (4, 8, 8), dim=16, depth=1, heads=2) if small else ViT3D(self.size)

    def model(self, name: str, chunk_size: int | None = None) -> Retriever:
        """Return a model around that encoder, on the device, in training mode."""
        encoder: Any = self.encoder(name)
        objective = Objective(symmetric=True, temperature=0.07, learn_temperature=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of hyperparameters that are modules
            model = Retriever(
                encoder,
                HashText(512),
                fusion=TokenAttention(encoder.dim),
                objective=objective,
                embed_dim=512,
                chunk_size=chunk_size,
            )
        return model.to(self.device).train()

    def data(self, **options: Any) -> CTReportDataModule:
        """Return the data of the speed parts, ready for a training."""
        manifest = write_cohort(self.folder / "cohort", self.size, 8 if self.toy else 512)
        data = CTReportDataModule(
            str(manifest), size=self.size, batch_size=self.batch, num_workers=self.workers, **options
        )
        data.prepare_data()
        data.setup("fit")
        return data


class HashText(TextEncoder):
    """Stands where the text encoder does: each text a fixed pseudo-random vector."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, texts: list[str]) -> Tensor:
        """Return (B, dim)."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") for text in texts]
        return torch.stack([torch.randn(self.dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class Interrupt(Callback):
    """Ends a training with an error at the start of its second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise in the second epoch."""
        if trainer.current_epoch == 1:
            raise UserError("interrupted on purpose")
