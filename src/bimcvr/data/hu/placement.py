"""Where a volume's voxels lie: in the file, in the patient in mm, and on the grid that a model sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bimcvr.data.hu.geometry import Axes
from bimcvr.data.hu.model_grid import Size, Span

# LPS, as DICOM and ITK have it, to the RAS of NIfTI
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Placement:
    """The maps between the voxels of a source, the patient's mm, and the voxels of a model's grid.

    A place on a grid is a (…, 3) array of fractional indices along (D, H, W), canonical axes; the middle of the first
    voxel is 0, 0, 0. A place in the patient is (…, 3) mm along x, y, z in LPS: towards the left, the back and the head.

    Attributes:
        shape: (D, H, W) voxels of the source in canonical axes.
        affine: (4, 4), from a place on the source's grid to one in the patient.
        axes: how the file's own axes lie in the patient.
        size: (D, H, W) voxels of the model's grid.
        spans: which of these lie on the source, for each axis.
    """

    shape: Size
    affine: np.ndarray
    axes: Axes
    size: Size
    spans: tuple[Span, Span, Span]

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        spacing: Sequence[float],
        direction: np.ndarray,
        origin: Sequence[float],
        axes: Axes,
        size: Size,
        spans: Sequence[Span],
    ) -> "Placement":
        """Place a source.

        Args:
            shape: its voxels along the file's array axes (z, y, x).
            spacing: mm along the same axes.
            direction: (3, 3); column k is where image axis k (x, y, z) points in LPS.
            origin: the middle of its first voxel, mm x, y, z in LPS.
            axes: how its axes lie in the patient.
            size: (D, H, W) of the model's grid.
            spans: where that grid lies on its canonical axes.
        """
        affine = np.eye(4)
        affine[:3, 3] = origin
        for canonical, (native, flipped) in enumerate(zip(axes.order, axes.flipped, strict=True)):
            step = np.asarray(direction)[:, 2 - native] * spacing[native]
            affine[:3, canonical] = -step if flipped else step
            affine[:3, 3] += step * (shape[native] - 1) * flipped
        depth, height, width = (shape[native] for native in axes.order)
        first, second, third = spans
        return cls((depth, height, width), affine, axes, size, (first, second, third))

    def to_model(self, places: np.ndarray) -> np.ndarray:
        """Return where places on the source's grid lie on the model's; outside 0 … size − 1 the model sees nothing."""
        first, step, start = self._spans()
        return np.asarray((np.asarray(places) + 0.5 - first) / step + start - 0.5)

    def to_source(self, places: np.ndarray) -> np.ndarray:
        """Return where places on the model's grid lie on the source's: the inverse of `to_model`."""
        first, step, start = self._spans()
        return np.asarray((np.asarray(places) + 0.5 - start) * step + first - 0.5)

    def to_patient(self, places: np.ndarray) -> np.ndarray:
        """Return where places on the source's grid lie in the patient."""
        return np.asarray(np.asarray(places) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def from_patient(self, millimetres: np.ndarray) -> np.ndarray:
        """Return where places in the patient lie on the source's grid: the inverse of `to_patient`."""
        return np.asarray((np.asarray(millimetres) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T)

    def model_affine(self) -> np.ndarray:
        """Return the (4, 4) affine from a place on the model's grid to one in the patient."""
        first, step, start = self._spans()
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] * step
        affine[:3, 3] = self.to_patient((0.5 - start) * step + first - 0.5)
        return affine

    def file_index(self, place: np.ndarray) -> tuple[int, int, int]:
        """Return the voxel of the file, counted from 0 along its own axes x, y, z, nearest to a place of the source."""
        index = [0, 0, 0]
        for canonical, (native, flipped) in enumerate(zip(self.axes.order, self.axes.flipped, strict=True)):
            nearest = int(np.clip(np.rint(place[canonical]), 0, self.shape[canonical] - 1))
            index[2 - native] = self.shape[canonical] - 1 - nearest if flipped else nearest
        return index[0], index[1], index[2]

    def nifti_affine(self) -> np.ndarray:
        """Return the (4, 4) affine of the file's own voxels (x, y, z) in RAS, as NIfTI and nibabel have it."""
        own = np.zeros((4, 4))
        own[3, 3] = 1.0
        for canonical, (native, flipped) in enumerate(zip(self.axes.order, self.axes.flipped, strict=True)):
            own[canonical, 2 - native] = -1.0 if flipped else 1.0
            own[canonical, 3] = (self.shape[canonical] - 1) * flipped
        return np.asarray(_TO_RAS @ self.affine @ own)

    def _spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each axis' first face in source voxels, source voxels a step, and the first voxel on the source."""
        first, step, start = np.array([(span.first, span.step, span.start) for span in self.spans]).T
        return first, step, start
