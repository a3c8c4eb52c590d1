"""Small parts that meet the contracts, named by class_path in tests as a user's own would be."""

import hashlib
import os

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from bimcvr.contracts import Features, TokenGrid
from bimcvr.extras import MissingExtra


class HashText(nn.Module):
    """A bag of words: each word a fixed pseudo-random vector, the text their mean."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, texts: list[str]) -> Tensor:
        return torch.stack([torch.stack([self._word(word) for word in text.split()]).mean(0) for text in texts])

    def _word(self, word: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:6], "big")
        return torch.randn(self.dim, generator=torch.Generator().manual_seed(seed))


class PlainConv(nn.Module):
    """Two convolutions without batch statistics."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(nn.Conv3d(1, 4, 3, stride=2), nn.GELU(), nn.Conv3d(4, dim, 3, stride=2))

    def forward(self, volume: Tensor) -> Features:
        tokens = self.layers(volume).flatten(2).transpose(1, 2)
        return Features(cls=tokens.mean(1), tokens=tokens)


class FixedConv(PlainConv):
    """With nothing to train."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.requires_grad_(False)


class RandomConv(FixedConv):
    """In the place of a published tower, without its weights."""

    source = "random weights"


class NeedsPeers(FixedConv):
    """A tower whose extra is not installed."""

    def __init__(self) -> None:
        raise MissingExtra("peers")


class NaNText(HashText):
    """A text encoder that has diverged."""

    def forward(self, texts: list[str]) -> Tensor:
        return super().forward(texts) * float("nan")


class SliceConv(nn.Module):
    """A convolution over single slices, in the place of a published image tower; frozen unless it is `trained`."""

    source = "a toy"

    def __init__(self, dim: int = 8, trained: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.layer = nn.Conv2d(1, dim, 3, stride=4).requires_grad_(trained)

    def forward(self, slices: Tensor) -> Tensor:
        return self.layer(slices).mean((2, 3))


class SignalAfterEpoch(Callback):
    """Sends a signal to its own process after the first epoch, as `kill` or Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.number = number

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), self.number)


class PatchMeans(nn.Module):
    """One token a patch: its mean brightness along a fixed direction, so that bright patches speak for `direction`."""

    def __init__(self, dim: int = 8, patch: tuple[int, int, int] = (2, 2, 2)) -> None:
        super().__init__()
        self.dim, self.patch = dim, tuple(patch)
        self.register_buffer("direction", torch.randn(dim, generator=torch.Generator().manual_seed(1)))
        self.scale = nn.Parameter(torch.ones(()))

    def token_grid(self, size: tuple[int, int, int]) -> TokenGrid:
        shape = tuple(side // step for side, step in zip(size, self.patch, strict=True))
        return TokenGrid(shape, tuple(step / 2 for step in self.patch), tuple(map(float, self.patch)))

    def forward(self, volume: Tensor) -> Features:
        means = nn.functional.avg_pool3d(volume, self.patch).flatten(1)[..., None]
        tokens = self.scale * means * self.direction
        return Features(cls=tokens.mean(1), tokens=tokens)


class LearnedText(HashText):
    """A text encoder that is trained."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__(dim)
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, texts: list[str]) -> Tensor:
        return super().forward(texts) * self.scale
