"""From a map over tokens to one over voxels: linear between the tokens' middles, constant beyond the outermost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.atomic_files import replacing
from bimcvr.contracts import TokenGrid
from bimcvr.data.hu.placement import Placement
from bimcvr.errors import UserError


def on_model_grid(values: np.ndarray, grid: TokenGrid, size: Sequence[int]) -> np.ndarray:
    """Return a map on the voxels of the model's grid, float32 (D, H, W).

    Args:
        values: (d, h, w), of the tokens.
        grid: where these lie.
        size: D, H, W.
    """
    return _spread(values, [_weights(np.arange(length), axis, grid) for axis, length in enumerate(size)])


def on_token_grid(values: np.ndarray, grid: TokenGrid, other: TokenGrid) -> np.ndarray:
    """Return a map on the positions of another grid of tokens, float32 (d, h, w).

    Args:
        values: (d, h, w), of the tokens.
        grid: where these lie.
        other: where the map is wanted.
    """
    places = [first - 0.5 + step * np.arange(n) for n, first, step in zip(*other, strict=True)]
    return _spread(values, [_weights(along, axis, grid) for axis, along in enumerate(places)])


def on_source_grid(values: np.ndarray, grid: TokenGrid, placement: Placement, size: Sequence[int]) -> np.ndarray:
    """Return a map on a grid that covers a source's whole field of view, float32 (D, H, W).

    It is 0 where the model's grid does not reach.

    Args:
        values: (d, h, w), of the tokens.
        grid: where these lie on the model's grid.
        placement: where the model's grid lies on the source.
        size: D, H, W; `placement.shape` for the source's own voxels.
    """
    weights = []
    for axis, (length, native) in enumerate(zip(size, placement.shape, strict=True)):
        places = (np.arange(length) + 0.5) * native / length - 0.5
        along = placement.to_model(np.repeat(places[:, None], 3, 1))[:, axis]
        outside = (along < -0.5) | (along > placement.size[axis] - 0.5)
        weights.append(np.where(outside[:, None], 0, _weights(along, axis, grid)))
    return _spread(values, weights)


@dataclass(frozen=True)
class SourceMap:
    """A map of relevance on the voxels of a source.

    Attributes:
        values: float32 (D, H, W) in canonical axes; 0 where the model's grid does not reach.
        placement: where these voxels lie.
    """

    values: np.ndarray
    placement: Placement

    @classmethod
    def of(cls, values: np.ndarray, grid: TokenGrid, placement: Placement) -> "SourceMap":
        """Spread a map over the voxels of a source.

        Args:
            values: (d, h, w), of the tokens.
            grid: where these lie on the model's grid.
            placement: where the model's grid lies on the source.
        """
        return cls(on_source_grid(values, grid, placement, placement.shape), placement)

    @property
    def peak(self) -> tuple[int, int, int]:
        """The voxel of the highest relevance, indices along D, H, W."""
        depth, height, width = np.unravel_index(int(self.values.argmax()), self.values.shape)
        return int(depth), int(height), int(width)

    def write(self, path: Path) -> None:
        """Write the map as NIfTI, float32, on the voxels of the source file in its own order of axes.

        Args:
            path: the file, `….nii` or `….nii.gz`.

        Raises:
            UserError: the source does not say where it lies in the patient.
        """
        import nibabel

        if not np.isfinite(self.placement.affine).all():
            raise UserError(
                f"{path} is not written: the source's header has no numbers for where its first voxel lies (its"
                " origin). Write them into it, or convert the volume to NIfTI."
            )

        own = self.placement.axes.native(self.values).T
        header = nibabel.Nifti1Header()
        header.set_xyzt_units("mm")
        image = nibabel.Nifti1Image(np.ascontiguousarray(own), None, header)
        image.set_sform(self.placement.nifti_affine(), code="scanner")
        image.set_qform(self.placement.nifti_affine(), code="scanner")
        with replacing(path) as temporary:
            nibabel.save(image, temporary)


def _weights(places: np.ndarray, axis: int, grid: TokenGrid) -> np.ndarray:
    """Return the matrix (n, tokens) that interpolates along one axis, at n indices of the model's grid."""
    count = grid.shape[axis]
    along = np.clip((np.asarray(places, dtype=np.float64) + 0.5 - grid.first[axis]) / grid.step[axis], 0, count - 1)
    return np.asarray(np.clip(1 - np.abs(along[:, None] - np.arange(count)), 0, None))


def _spread(values: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    spread = values.astype(np.float32)
    # the last axis first: the large product comes last
    for axis in (2, 1, 0):
        matrix = weights[axis].astype(np.float32)
        spread = np.moveaxis(np.tensordot(matrix, spread, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(spread)
