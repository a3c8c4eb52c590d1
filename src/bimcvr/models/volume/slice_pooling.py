"""Pooling over the vectors of a volume's slices: each is an `nn.Module` (B, S, C) → Features.

CLIP4Clip (Luo et al. 2022, Neurocomputing 508:293, section 3.3 and its released code): meanP, seqLSTM, seqTransf. In
all three every frame is scaled to length 1 before the mean; what sees the order of frames adds to them as a residual.
3D-MIR (Ben Abacha et al. 2023, arXiv 2311.13752): one statistic over the slices.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.contracts import Features
from bimcvr.errors import UserError
from bimcvr.models.pretrained.open_clip import open_clip_folder, read_weights

# a block of CLIP's transformer → of torch's
_NAMES = {
    "transformer.resblocks.": "blocks.",
    ".attn.": ".self_attn.",
    ".ln_1.": ".norm1.",
    ".ln_2.": ".norm2.",
    ".mlp.c_fc.": ".linear1.",
    ".mlp.c_proj.": ".linear2.",
}


class MeanP(nn.Module):
    """CLIP4Clip's meanP: the mean of the slices, each scaled to length 1."""

    def forward(self, slices: Tensor) -> Features:
        """Join (B, S, C) into cls (B, C); the tokens are the normalised slices."""
        tokens = normalize(slices, dim=-1)
        return Features(cls=tokens.mean(1), tokens=tokens)


class SeqLSTM(nn.Module):
    """CLIP4Clip's seqLSTM: an LSTM over the slices is added to them before the mean.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.mean = MeanP()

    def forward(self, slices: Tensor) -> Features:
        """Join (B, S, C) into cls (B, C); the tokens are the normalised slices."""
        joined: Features = self.mean(slices + self.lstm(slices)[0])
        return joined


class SeqTransf(nn.Module):
    """CLIP4Clip's seqTransf: a transformer over slices and their positions is added to them before the mean.

    The blocks are CLIP's (layer norm first, QuickGELU, no dropout). The original starts positions and blocks from those
    of CLIP's text tower, of which it takes the first.

    Args:
        dim: C.
        layers: number of blocks; 4 in the original.
        heads: attention heads; by default one for 64 numbers, as in CLIP.
        most: the largest number of slices, each with a learned position; 77 in the original.
        start: the CLIP to start from, as OpenClipText's `model`; at random by default.
        pretrained: the tag of its weights, as OpenClipText's.

    Raises:
        UserError: the CLIP's text tower is not plain or of another size.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    def __init__(
        self,
        dim: int,
        layers: int = 4,
        heads: int | None = None,
        most: int = 77,
        start: str = "",
        pretrained: str = "",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.positions = nn.Parameter(0.01 * torch.randn(most, dim))  # CLIP's initialisation
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim,
                heads or max(1, dim // 64),
                4 * dim,
                dropout=0.0,
                activation=quick_gelu,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        if start:
            self._start_from(open_clip_folder(start, pretrained))
        self.mean = MeanP()

    def forward(self, slices: Tensor) -> Features:
        """Join (B, S, C) into cls (B, C); the tokens are the normalised slices.

        Raises:
            UserError: there are more slices than positions.
        """
        count = slices.shape[1]
        if count > len(self.positions):
            raise UserError(
                f"SeqTransf has {len(self.positions)} positions but got {count} slices: set "
                f"model.volume_encoder.init_args.join.init_args.most to {count}, or fewer slices."
            )
        x = slices + self.positions[:count]
        for block in self.blocks:
            x = block(x)
        joined: Features = self.mean(slices + x)
        return joined

    def _start_from(self, folder: Path) -> None:
        """Take positions and the first blocks of a plain CLIP's text tower."""
        text = read_weights(folder, _torch_name)
        wanted = self.state_dict()
        loaded = {
            name: text[name][: len(wanted[name])] if name == "positions" else text[name]
            for name in wanted
            if name in text
        }
        if [name for name in wanted if name not in loaded or loaded[name].shape != wanted[name].shape]:
            raise UserError(
                f"SeqTransf(dim={self.dim}, layers={len(self.blocks)}, most={len(self.positions)}) cannot start from"
                f" the text tower in {folder}: it is not CLIP's own kind, not as wide, not as deep or has fewer"
                " positions. Choose the CLIP whose image tower is used, or leave `start` out."
            )
        self.load_state_dict(loaded)


class Statistic(nn.Module):
    """3D-MIR's way: one statistic over the slices, number by number.

    Args:
        how: mean, max, median (of an even count the mean of the middle two, as NumPy's) or std (the population's).
    """

    def __init__(self, how: Literal["mean", "max", "median", "std"] = "mean") -> None:
        super().__init__()
        self.how = f" {how}"
        self._join = {"mean": _mean, "max": _max, "median": _median, "std": _std}[how]

    def forward(self, slices: Tensor) -> Features:
        """Join (B, S, C) into cls (B, C), which is also the one token (B, 1, C)."""
        cls = self._join(slices)
        return Features(cls=cls, tokens=cls[:, None])


def quick_gelu(x: Tensor) -> Tensor:
    """Return x · sigmoid(1.702 x), the activation of OpenAI's CLIP."""
    return x * torch.sigmoid(1.702 * x)


def _torch_name(key: str) -> str:
    """Return the name here of a tensor of CLIP's text tower, or an empty string if it is not used."""
    if key == "positional_embedding":
        return "positions"
    if not key.startswith("transformer.resblocks."):
        return ""
    for clip_name, torch_name in _NAMES.items():
        key = key.replace(clip_name, torch_name)
    return key


def _mean(slices: Tensor) -> Tensor:
    return slices.mean(1)


def _max(slices: Tensor) -> Tensor:
    return slices.amax(1)


def _median(slices: Tensor) -> Tensor:
    ordered, count = slices.sort(1).values, slices.shape[1]
    return (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2


def _std(slices: Tensor) -> Tensor:
    return slices.std(1, correction=0)
