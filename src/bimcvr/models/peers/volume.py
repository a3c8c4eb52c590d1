"""What the volume towers of peers have in common: from the project's tensor to what a tower was trained on."""

import importlib.metadata
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bimcvr.contracts import DataGrid, Features, VolumeEncoder
from bimcvr.errors import UserError
from bimcvr.models.peers.weights import PeerWeights
from bimcvr.models.pretrained.frozen import Frozen

CANONICAL = "SPL"
"""Where the axes of a project's volume (D, H, W) grow: superior, posterior, left."""

_OPPOSITE = dict(zip("SIPALR", "ISAPRL", strict=True))


@dataclass(frozen=True)
class TowerInput:
    """The input that a published tower was trained on.

    Attributes:
        axes: where the axes of its tensor grow, as nibabel and MONAI write it: RAS is right, anterior, superior.
        size: D, H, W of the project's grid: slices, rows, columns.
        spacing: mm along the same axes.
        window: the HU that are clipped to.
        scaled: what the ends of the window become.
    """

    axes: str
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    window: tuple[float, float] = (-1000.0, 1000.0)
    scaled: tuple[float, float] = (0.0, 1.0)


def to_axes(volume: Tensor, axes: str) -> Tensor:
    """Permute and flip canonical volumes.

    Args:
        volume: (…, D, H, W).
        axes: the three letters of the result.

    Returns:
        The same voxels, their axes in the order and directions of the letters.
    """
    lead = volume.ndim - 3
    order = [next(place for place, own in enumerate(CANONICAL) if letter in (own, _OPPOSITE[own])) for letter in axes]
    turned = [lead + place for place, letter in enumerate(axes) if letter not in CANONICAL]
    return volume.permute(*range(lead), *(lead + place for place in order)).flip(turned)


class PeerVolume(VolumeEncoder):
    """A published volume tower, frozen: its weights are not trained, not in checkpoints, and stay in float32.

    With `projected` a volume has one token, its vector in the space shared with the model's own text tower, of length
    1: for zero-shot retrieval with `map_volumes: false` and `FirstView`. Otherwise tokens are the tower's own, and
    `cls` is its class token, or their mean: for training a new head.

    Args:
        tower: the module that holds the weights.
        wanted: the input that it was trained on.
        weights: where its weights come from.
        package: whose code runs it, with the version.
        projected: see above.
        dim: C, the length of a vector.
    """

    peer: str
    """The model's name."""

    licence: str
    """Of the published weights."""

    def __init__(
        self, tower: nn.Module, wanted: TowerInput, weights: PeerWeights, package: str, projected: bool, dim: int
    ) -> None:
        super().__init__()
        self.frozen = Frozen(tower)
        self.wanted, self.weights, self.package, self.projected, self.dim = wanted, weights, package, projected, dim
        self.grid: DataGrid | None = None  # public: an encoder is recognised by its settings where features are kept

    @property
    def tower(self) -> Any:
        """The frozen module."""
        return self.frozen.tower

    @property
    def source(self) -> str:
        """The weights, as results name them."""
        return self.weights.source

    def accept_grid(self, grid: DataGrid) -> None:
        """Be told what the volumes are like.

        Raises:
            UserError: their voxels or their number differ from what the tower was trained on, or the window has lost
                intensities that it needs.
        """
        wanted = self.wanted
        if tuple(grid.size) != wanted.size or grid.spacing is None or tuple(grid.spacing) != wanted.spacing:
            raise UserError(
                f"{self.peer} reads volumes of {list(wanted.size)} voxels of {list(wanted.spacing)} mm (slices, rows,"
                f" columns), but the data has {list(grid.size)} of {_mm(grid.spacing)}. Set data.size to"
                f" {list(wanted.size)} and data.spacing to {list(wanted.spacing)}."
            )
        if grid.window[0] > wanted.window[0] or grid.window[1] < wanted.window[1]:
            raise UserError(
                f"{self.peer} needs all HU from {wanted.window[0]:g} to {wanted.window[1]:g}, but data.window"
                f" {list(grid.window)} has clipped some. Set data.window to {list(wanted.window)}, or wider."
            )
        self.grid = grid

    def hu(self, volume: Tensor) -> Tensor:
        """Undo the data's window.

        Args:
            volume: (B, 1, D, H, W), HU of the data's window scaled to [0, 1].

        Returns:
            HU, clipped to the tower's window.

        Raises:
            UserError: nobody has said yet which window it is.
        """
        if self.grid is None:
            raise UserError(
                f"{self.peer} was not told the grid and the window of its volumes: call `accept_grid` first, as fit,"
                " test and predict do."
            )
        low, high = self.grid.window
        return (volume.float() * (high - low) + low).clamp(*self.wanted.window)

    def prepare(self, volume: Tensor) -> Tensor:
        """Turn volumes (B, 1, D, H, W) of the project into the tower's input: its axes, its scale."""
        (low, high), (bottom, top) = self.wanted.window, self.wanted.scaled
        scaled = (self.hu(volume) - low) / (high - low) * (top - bottom) + bottom
        return to_axes(scaled, self.wanted.axes)

    @torch.no_grad()
    def forward(self, volume: Tensor) -> Features:
        """Encode volumes (B, 1, D, H, W) → `cls` (B, C) and `tokens` (B, N, C), without gradient."""
        return self.encode(self.prepare(volume))

    @abstractmethod
    def encode(self, prepared: Tensor) -> Features:
        """Encode what `prepare` returned."""

    def receipt(self) -> dict[str, object]:
        """Return what happens to a volume on its way to a vector, and whose weights do it."""
        return {
            "tower": self.peer,
            "package": self.package,
            "weights": self.weights.facts,
            "licence_of_weights": self.licence,
            "input": {**asdict(self.wanted), "order_of_size_and_spacing": "slices, rows, columns (D, H, W)"},
            "data": None if self.grid is None else self.grid._asdict(),
            "vector": "projected to the space shared with text, length 1" if self.projected else "the tower's own",
            "dim": self.dim,
        }


def one_token(vectors: Tensor) -> Features:
    """Return vectors (B, C), scaled to length 1, as features of one token."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return Features(unit, unit[:, None])


def with_version(package: str) -> str:
    """Return a distribution's name with its installed version."""
    return f"{package} {importlib.metadata.version(package)}"


def _mm(spacing: tuple[float, ...] | None) -> str:
    return "whatever spacing the files have" if spacing is None else f"{list(spacing)} mm"
