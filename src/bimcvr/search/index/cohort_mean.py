"""The mean of volumes of an index, and which slice of a volume differs most from it; kept small beside the index."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.atomic_files import replacing
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.hu.placement import Placement
from bimcvr.data.numpy_files import UnreadableArrays, read_npz
from bimcvr.data.reading.volume import Volume

NAME = "cohort-mean.npz"
SMALL = (48, 64, 64)
"""A mean has no more slices, rows and columns."""

LEAST_VOLUMES = 8
"""Of fewer there is no mean: it would be a picture of some patients."""

_FLOOR = 20.0


@dataclass(frozen=True)
class CohortMean:
    """The mean of volumes on one grid, and how much they vary.

    Attributes:
        grid: the grid that they were on before they were reduced.
        mean: (d, h, w) float32 HU.
        spread: (d, h, w) float32, the standard deviation, HU.
        volumes: how many there were.
        made_of: identifies them.
    """

    grid: ModelGrid
    mean: np.ndarray
    spread: np.ndarray
    volumes: int
    made_of: str

    def most_different(self, volume: Volume) -> int:
        """Return the slice of a volume's source that differs most from the mean, counted from the feet, from 0.

        The difference of a slice is the mean over its voxels of |HU − mean| / (standard deviation + 20 HU).

        Args:
            volume: read on `grid`.
        """
        placement = volume.placement
        difference = (np.abs(reduced(volume.hu) - self.mean) / (self.spread + _FLOOR)).mean(axis=(1, 2))
        edges = _edges(self.grid.size[0], len(difference))
        middles = (edges[:-1] + edges[1:] - 1) / 2
        span = placement.spans[0]
        # beyond the volume a grid is air
        difference[(middles < span.start) | (middles > span.stop - 1)] = -1
        return _source_slice(placement, middles[int(difference.argmax())])


def _source_slice(placement: Placement, place: float) -> int:
    found = placement.to_source(np.array([[place, 0.0, 0.0]]))[0, 0]
    return int(np.clip(np.rint(found), 0, placement.shape[0] - 1))


def reduced(hu: np.ndarray) -> np.ndarray:
    """Return a volume (D, H, W) as the means of blocks, float32, at most `SMALL`."""
    small: np.ndarray = hu.astype(np.float32)
    for axis, most in enumerate(SMALL):
        edges = _edges(hu.shape[axis], most)
        sums = np.add.reduceat(small, edges[:-1], axis=axis)
        small = sums / np.diff(edges).reshape([-1 if one == axis else 1 for one in range(3)]).astype(np.float32)
    return small


def _edges(length: int, most: int) -> np.ndarray:
    """Return where blocks of an axis begin, and where the last one ends."""
    return np.linspace(0, length, min(length, most) + 1).astype(np.int64)


def mean_of(volumes: Iterable[np.ndarray], grid: ModelGrid, made_of: str) -> CohortMean | None:
    """Return the mean of volumes (D, H, W) in HU on a grid; None of fewer than eight."""
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for hu in volumes:
        small = reduced(hu).astype(np.float64)
        count, total, squares = count + 1, total + small, squares + small**2
    if count < LEAST_VOLUMES:
        return None
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return CohortMean(grid, mean.astype(np.float32), spread.astype(np.float32), count, made_of)


def save_mean(folder: Path, mean: CohortMean) -> None:
    """Write the mean into an index folder, whole or not at all."""
    grid = mean.grid
    with replacing(folder / NAME) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            mean=np.rint(mean.mean).astype(np.int16),
            spread=np.rint(mean.spread).astype(np.int16),
            volumes=np.array(mean.volumes),
            made_of=np.array(mean.made_of),
            size=np.array(grid.size),
            spacing=np.array(grid.spacing or (), dtype=np.float64),
            centre=np.array(grid.centre),
        )


def load_mean(folder: Path) -> CohortMean | None:
    """Read the mean of an index folder; None where there is none, or what lies there is not one."""
    try:
        content = read_npz(folder / NAME)
        mean, spread = (content[name].astype(np.float32) for name in ("mean", "spread"))
        size, spacing, centre = (content[name].tolist() for name in ("size", "spacing", "centre"))
        grid = ModelGrid(tuple(size), tuple(spacing) or None, centre)
        if mean.shape != spread.shape or mean.shape != tuple(map(min, grid.size, SMALL)):
            return None
        return CohortMean(grid, mean, spread, int(content["volumes"]), str(content["made_of"]))
    except (OSError, UnreadableArrays, KeyError, ValueError, TypeError):
        return None
