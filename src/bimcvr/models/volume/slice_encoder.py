"""A volume encoder that runs a 2D backbone over axial slices, as CLIP4Clip and 3D-MIR do."""

from typing import cast

from torch import Tensor, nn

from bimcvr.contracts import Features, VolumeEncoder
from bimcvr.errors import UserError


class SliceEncoder(VolumeEncoder):
    """Encodes axial slices with a 2D tower, and joins the slices' vectors.

    Args:
        tower: (N, 1, H, W) → (N, C), with attributes `dim` and `source`; see bimcvr.models.volume.slice_backbones.
        join: (B, S, C), in order from the feet to the head, → Features; see bimcvr.models.volume.slice_pooling.
        slices: number of slices, spread evenly from the volume's first to its last; CLIP4Clip takes 12 frames of a
            video. None takes all.

    Raises:
        UserError: the join is made for vectors of another length.
    """

    def __init__(self, tower: nn.Module, join: nn.Module, slices: int | None = None) -> None:
        super().__init__()
        self.tower, self.join, self.count = tower, join, slices
        self.dim = cast(int, tower.dim)
        wanted = getattr(join, "dim", self.dim)
        if wanted != self.dim:
            raise UserError(
                f"{type(join).__name__} is made for vectors of {wanted} numbers, but the tower gives {self.dim}: set "
                f"model.volume_encoder.init_args.join.init_args.dim to {self.dim}."
            )
        self.source = f"{tower.source}; {slices or 'all'} slices, {type(join).__name__}{getattr(join, 'how', '')}"

    def forward(self, volume: Tensor) -> Features:
        """Encode (B, 1, D, H, W) into cls (B, C) and the join's tokens."""
        return cast(Features, self.join(self.embed_slices(volume)))

    def embed_slices(self, volume: Tensor) -> Tensor:
        """Return the tower's vectors (B, S, C) of the slices of volumes (B, 1, D, H, W), from the feet to the head."""
        chosen = volume[:, :, evenly(volume.shape[2], self.count)]
        flat = chosen.transpose(1, 2).flatten(0, 1)  # (B · S, 1, H, W), a volume's slices side by side
        vectors: Tensor = self.tower(flat)
        return vectors.reshape(len(volume), -1, self.dim)


def evenly(depth: int, count: int | None) -> list[int]:
    """Return `count` positions among `depth` slices, from the first to the last, or all if there are fewer.

    >>> evenly(96, 4), evenly(3, 12), evenly(9, 1)
    ([0, 31, 63, 95], [0, 1, 2], [4])
    """
    if count is None or count >= depth:
        return list(range(depth))
    return [number * (depth - 1) // (count - 1) for number in range(count)] if count > 1 else [(depth - 1) // 2]
