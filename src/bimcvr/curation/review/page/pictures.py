"""Slices of a queued study's volume, as pictures; the last few volumes stay in memory."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bimcvr.data.reading.grid import GridRules
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.reading.volume import Volume
from bimcvr.data.slice_pictures import CHEST_WINDOW, fit_in, grey, jpeg, slices_at

Plane = Literal["axial", "coronal", "sagittal"]
Window = Literal["chest", "lung", "mediastinum"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
WINDOWS: dict[Window, tuple[float, float]] = {
    "chest": CHEST_WINDOW,
    "lung": (-1350.0, 150.0),
    "mediastinum": (-160.0, 240.0),
}
"""HU from black to white."""

_MOST = (256, 320, 320)  # slices, rows and columns that are kept; larger volumes are resampled
_UNKNOWN = (128, 256, 256)
_KEPT = 3
_SIDE = 512


@dataclass(frozen=True)
class Stack:
    """What can be shown of a volume.

    Attributes:
        counts: how many slices there are in each plane, in the order of `PLANES`.
        source_size: slices, rows and columns of the source.
        source_spacing: mm from slice to slice, row to row and column to column of the source.
    """

    counts: tuple[int, int, int]
    source_size: tuple[int, int, int]
    source_spacing: tuple[float, float, float]


class Pictures:
    """Reads volumes, one at a time, and draws their slices.

    Args:
        rules: which grids are accepted.
    """

    def __init__(self, rules: GridRules) -> None:
        self._rules = rules
        self._volumes: OrderedDict[Path, Volume] = OrderedDict()
        self._reading = threading.Lock()

    def stack(self, path: Path, size: tuple[int, int, int] | None) -> Stack:
        """Return what can be shown of a volume.

        Args:
            path: the volume file or DICOM folder.
            size: its slices, rows and columns, where the manifest knows them.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
        """
        volume = self._volume(path, size)
        depth, height, width = volume.hu.shape
        return Stack((depth, height, width), volume.geometry.native_size, volume.geometry.native_spacing)

    def slice(
        self, path: Path, size: tuple[int, int, int] | None, plane: Plane, number: int | None, window: Window
    ) -> bytes:
        """Draw a slice with true proportions, 512 pixels along the longer side, in radiological convention.

        Args:
            path: the volume file or DICOM folder.
            size: its slices, rows and columns, where the manifest knows them.
            plane: of the slice.
            number: of the slice, from 0 at the feet, front and right; None for the middle one. It is clipped.
            window: the HU that are shown.

        Returns:
            A grey JPEG.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
        """
        volume = self._volume(path, size)
        which = PLANES.index(plane)
        place = [count // 2 for count in volume.hu.shape]
        if number is not None:
            place[which] = min(max(number, 0), volume.hu.shape[which] - 1)
        depth, height, width = place
        picture, aspect = slices_at(volume.hu, volume.spacing, (depth, height, width))[which]
        return jpeg(fit_in(grey(picture, WINDOWS[window]), aspect, _SIDE))

    def _volume(self, path: Path, size: tuple[int, int, int] | None) -> Volume:
        with self._reading:
            if path not in self._volumes:
                depth, height, width = (min(pair) for pair in zip(size or _UNKNOWN, _MOST, strict=True))
                self._volumes[path] = read_resized(path, (depth, height, width), self._rules)
                while len(self._volumes) > _KEPT:
                    self._volumes.popitem(last=False)
            self._volumes.move_to_end(path)
            return self._volumes[path]
