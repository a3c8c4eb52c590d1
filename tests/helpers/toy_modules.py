"""Small parts that meet the contracts, named by class_path in tests as a user's own would be."""

import hashlib
import os
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from bimcvr.contracts import Features, TokenGrid
from bimcvr.errors import WeightsAbsent
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


class UnregisteredConv(nn.Module):
    """With its layer in a plain list, where no optimiser and no checkpoint finds it."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.dim = dim
        self.layers = [nn.Conv3d(1, dim, 3, stride=2)]

    def forward(self, volume: Tensor) -> Features:
        tokens = self.layers[0](volume).flatten(2).transpose(1, 2)
        return Features(cls=tokens.mean(1), tokens=tokens)


class DetachedConv(PlainConv):
    """Whose output does not depend on its parameters, as far as gradients know."""

    @torch.no_grad()
    def forward(self, volume: Tensor) -> Features:
        return super().forward(volume)


class DoubleConv(PlainConv):
    """That returns another type than the model's."""

    def forward(self, volume: Tensor) -> Features:
        features = super().forward(volume)
        return Features(cls=features.cls.double(), tokens=features.tokens.double())


class BrokenConv(PlainConv):
    """That cannot be made."""

    def __init__(self) -> None:
        raise KeyError("weights")


class FixedBatchConv(PlainConv):
    """That takes the two volumes of a trial and no other number."""

    def forward(self, volume: Tensor) -> Features:
        if len(volume) != 2:
            raise ValueError("two volumes are needed")
        return super().forward(volume)


class StatefulConv(PlainConv):
    """With a state that a checkpoint cannot hold."""

    def get_extra_state(self) -> dict[str, str]:
        return {"name": "x"}

    def set_extra_state(self, state: dict[str, str]) -> None:
        pass


class PathKeeper(Callback):
    """With a state that is not read from a checkpoint."""

    def state_dict(self) -> dict[str, object]:
        return {"path": Path("x")}


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


class AbsentWeights(nn.Module):
    """A published model that is not on this machine."""

    def __init__(self, name: str) -> None:
        raise WeightsAbsent(f"the weights of {name} are absent.")
