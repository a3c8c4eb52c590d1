"""CT windows as input channels of any volume encoder: soft tissue, lung and bone each in full contrast."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bimcvr.contracts import (
    DataGrid,
    FeatureMaps,
    Features,
    HasFeatureMaps,
    HasTokenGrid,
    TakesGrid,
    TokenGrid,
    VolumeEncoder,
)
from bimcvr.errors import UserError
from bimcvr.models.pretrained.frozen import with_hidden

Window = tuple[float, float]

WINDOWS: tuple[Window, ...] = ((-1000.0, 1000.0), (-1000.0, -600.0), (-150.0, 250.0), (200.0, 1000.0))
"""HU of the whole range, of lung, mediastinum and bone."""


class WindowChannels(VolumeEncoder):
    """Gives a volume encoder several windows of a volume as channels, in the place of one.

    The data's window is undone, and each window scaled and clipped to [0, 1]: a training view's noise survives within a
    window and ends at its borders. The encoder's first convolution, which takes one channel, is inflated: its weights
    are repeated for each window and divided by their number, so that pretrained weights give the output of before where
    all channels are equal. An encoder whose only convolution of that many channels takes them already, as CLIP's image
    tower takes three, is left as it is.

    Args:
        encoder: any volume encoder over one channel, or over as many as there are windows. It is changed.
        windows: the HU that become 0 and 1 in each channel; they have to lie within data.window.
        new_stem: draw the weights of that convolution anew, for each window by themselves and with the old ones'
            spread: for an encoder that starts at random, since repeated weights begin alike. Not for pretrained ones.

    Raises:
        UserError: a window is empty, or the encoder cannot take windows: it has no first convolution of one channel or
            several that could be it, or undoes the data's window itself.
    """

    def __init__(self, encoder: nn.Module, windows: Sequence[Window] = WINDOWS, new_stem: bool = False) -> None:
        super().__init__()
        self.windows = tuple((float(low), float(high)) for low, high in windows)
        if not self.windows or not all(low < high for low, high in self.windows):
            raise UserError(
                f"WindowChannels has windows {[list(window) for window in self.windows]}: give one or more, each with"
                " its first HU below the second, as in [[-1000, -600], [-150, 250]]."
            )
        _refuse_own_window(encoder)
        stem = _inflate(encoder, len(self.windows), new_stem)
        self.encoder = encoder
        self.dim = cast(int, encoder.dim)
        shown = ", ".join(f"{low:g} … {high:g}" for low, high in self.windows)
        inner = " ".join(filter(None, [type(encoder).__name__, str(getattr(encoder, "source", ""))]))
        self.source = f"{inner}; windows {shown} HU as channels, {stem}"
        self.grid: DataGrid | None = None  # public: an encoder is recognised by its settings where features are kept

    def accept_grid(self, grid: DataGrid) -> None:
        """Be told what the volumes are like.

        Raises:
            UserError: the data's window has clipped HU that a window needs.
        """
        lowest, highest = min(low for low, _ in self.windows), max(high for _, high in self.windows)
        if grid.window[0] > lowest or grid.window[1] < highest:
            raise UserError(
                f"WindowChannels needs all HU from {lowest:g} to {highest:g}, but data.window {list(grid.window)} has"
                f" clipped some. Set data.window to [{lowest:g}, {highest:g}] or wider, or choose other `windows`."
            )
        self.grid = grid

    def token_grid(self, size: tuple[int, int, int]) -> TokenGrid | None:
        """Return where the encoder's tokens lie, if it says so."""
        return self.encoder.token_grid(size) if isinstance(self.encoder, HasTokenGrid) else None

    def feature_maps(self, volume: Tensor) -> FeatureMaps | None:
        """Return the encoder's inner maps of a volume (1, 1, D, H, W), if it has any."""
        return self.encoder.feature_maps(self.channels(volume)) if isinstance(self.encoder, HasFeatureMaps) else None

    def channels(self, volume: Tensor) -> Tensor:
        """Return the windows of volumes.

        Args:
            volume: (B, 1, D, H, W), HU of the data's window scaled to [0, 1].

        Returns:
            (B, N, D, H, W), N windows, each scaled and clipped to [0, 1].

        Raises:
            UserError: nobody has said yet which window the data have.
        """
        if self.grid is None:
            raise UserError(
                "WindowChannels was not told the window of its volumes: call `accept_grid` first, as fit, test and"
                " predict do."
            )
        bottom, top = self.grid.window
        # half precision has steps of 8 HU
        hu = (volume if volume.dtype == torch.float64 else volume.float()) * (top - bottom) + bottom
        scaled = [((hu - low) / (high - low)).clamp(0, 1) for low, high in self.windows]
        return torch.cat(scaled, 1).to(volume.dtype)

    def forward(self, volume: Tensor) -> Features:
        """Encode volumes (B, 1, D, H, W) → `cls` (B, C) and `tokens` (B, N, C), as the encoder does."""
        return cast(Features, self.encoder(self.channels(volume)))


def _inflate(encoder: nn.Module, count: int, new_stem: bool) -> str:
    """Let an encoder take `count` channels; returns how, as results say it."""
    convolutions = [part for part in with_hidden(encoder) if isinstance(part, nn.Conv2d | nn.Conv3d)]
    single = [part for part in convolutions if part.in_channels == 1]
    ready = [part for part in convolutions if part.in_channels == count > 1]
    name = type(encoder).__name__
    if not single and len(ready) == 1 and not new_stem:
        return "which its first convolution takes as it is"
    if len(single) != 1:
        found = "none" if not single else f"{len(single)}"
        raise UserError(
            f"WindowChannels needs one convolution of one channel in {name}, the first, and found {found}. Take an"
            f" encoder that begins with such a convolution, or with one of {count} channels for {count} windows."
        )
    stem = single[0]
    weight = stem.weight.detach()
    stem.in_channels = count
    stem.weight = nn.Parameter(weight.repeat_interleave(count, 1) / count, requires_grad=stem.weight.requires_grad)
    if not new_stem:
        return "first convolution inflated from one"
    source = str(getattr(encoder, "source", ""))
    if source and not source.startswith("from scratch"):
        raise UserError(
            f"WindowChannels has new_stem, which would throw away a part of {name}'s weights ({source}): leave"
            " new_stem out."
        )
    nn.init.normal_(stem.weight, std=float(weight.std()))
    return "first convolution new"


def _refuse_own_window(encoder: nn.Module) -> None:
    for part in with_hidden(encoder):
        if isinstance(part, TakesGrid) or (hasattr(part, "data_window") and getattr(part, "window", None) is not None):
            raise UserError(
                f"WindowChannels cannot be laid around {type(part).__name__}, which undoes the data's window itself:"
                " take one of both."
            )
