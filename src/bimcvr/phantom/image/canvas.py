"""A grid in patient millimetres, and soft-edged shapes painted on it."""

from dataclasses import dataclass, field

import numpy as np

from bimcvr.phantom.reports.findings import PlantedFinding

Array = np.ndarray
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """Voxel centres in patient mm: x towards the patient's left, y towards the back, z towards the head.

    Attributes:
        z: (D,) positions of the slices, ascending.
        y: (H,) positions of the rows, ascending.
        x: (W,) positions of the columns, ascending.
    """

    z: Array
    y: Array
    x: Array

    @property
    def spacing(self) -> Point:
        """The voxel size (x, y, z) in mm."""
        return tuple(float(axis[1] - axis[0]) for axis in (self.x, self.y, self.z))  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of voxels (D, H, W)."""
        return len(self.z), len(self.y), len(self.x)

    def box(self, low: Point, high: Point) -> Box:
        """Return the slices (z, y, x) that hold the box between two (x, y, z) corners."""
        return tuple(
            slice(int(np.searchsorted(axis, low[k])), int(np.searchsorted(axis, high[k])))
            for k, axis in ((2, self.z), (1, self.y), (0, self.x))
        )  # type: ignore[return-value]

    def within(self, box: Box) -> tuple[Array, Array, Array]:
        """Return the z, y, x positions in a box, shaped to broadcast to (D, H, W)."""
        return self.z[box[0], None, None], self.y[None, box[1], None], self.x[None, None, box[2]]


def make_grid(shape: tuple[int, int, int], spacing: Point, centre: Point = (0.0, 0.0, 0.0)) -> Grid:
    """Return a grid of `shape` (D, H, W) with `spacing` (x, y, z) in mm around `centre` (x, y, z)."""
    axes = [
        ((np.arange(n) - (n - 1) / 2) * spacing[k] + centre[k]).astype(np.float32)
        for n, k in zip(shape, (2, 1, 0), strict=True)
    ]
    return Grid(*axes)


@dataclass
class Canvas:
    """A volume being painted.

    Attributes:
        grid: where its voxels lie.
        hu: float32 (D, H, W), Hounsfield units.
        lung: uint8 (D, H, W): 0 outside the lungs, else 1 + the lobe's position in `findings.LOBES`.
        findings: the voxels that each finding fills, bool (D, H, W), in the order in which they were painted.
    """

    grid: Grid
    hu: Array
    lung: Array = field(repr=False)
    findings: dict[PlantedFinding, Array] = field(default_factory=dict, repr=False)
    _filled: Array | None = field(default=None, repr=False)

    def ellipsoid(self, centre: Point, radii: Point) -> tuple[Box, Array]:
        """Return a box and the share of each of its voxels that an ellipsoid fills, 0 to 1."""
        box = self._box_around(centre, centre, max(radii))
        z, y, x = self.grid.within(box)
        distance = np.sqrt(
            ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2
        )
        return box, self._soften((1 - distance) * min(radii))

    def tube(
        self, start: Point, end: Point, radius: float, end_radius: float | None = None, wall: float | None = None
    ) -> tuple[Box, Array]:
        """Return a box and the share of each of its voxels that a round-ended tube fills, 0 to 1.

        Args:
            start: the middle of one end, (x, y, z) mm.
            end: the middle of the other end.
            radius: the radius at the start, mm.
            end_radius: the radius at the end, mm; the same if None.
            wall: take only a wall of this thickness (mm), not what lies inside.
        """
        last = radius if end_radius is None else end_radius
        box = self._box_around(start, end, max(radius, last))
        z, y, x = self.grid.within(box)
        along = np.subtract(end, start, dtype=np.float32)
        length = float(along @ along) or 1.0
        t = ((x - start[0]) * along[0] + (y - start[1]) * along[1] + (z - start[2]) * along[2]) / length
        t = np.clip(t, 0, 1)
        distance = np.sqrt(
            (x - start[0] - t * along[0]) ** 2 + (y - start[1] - t * along[1]) ** 2 + (z - start[2] - t * along[2]) ** 2
        )
        depth = radius + t * (last - radius) - distance
        share = self._soften(depth)
        return box, share if wall is None else share - self._soften(depth - wall)

    def begin(self, finding: PlantedFinding) -> None:
        """Let what is painted from here on be a finding."""
        self._filled = self.findings[finding] = np.zeros(self.grid.shape, dtype=bool)

    def mark(self, shape: tuple[Box, Array]) -> None:
        """Count the voxels of a shape among those of the finding that is being painted."""
        if self._filled is not None:
            box, share = shape
            self._filled[box] |= share > 0.5

    def paint(self, shape: tuple[Box, Array], hu: float, solid: bool = True, counts: bool = True) -> None:
        """Blend `hu` into the voxels of a shape.

        Args:
            shape: a box and the share of each of its voxels that is filled.
            hu: of the shape.
            solid: whether it is no longer lung.
            counts: whether it is part of the finding that is being painted, and not of what lies around it.
        """
        if counts:
            self.mark(shape)
        box, share = shape
        part = self.hu[box]
        part += share * (hu - part)
        if solid:
            self.lung[box][share > 0.5] = 0

    def masked(self, shape: tuple[Box, Array], mask: Array) -> tuple[Box, Array]:
        """Return the part of a shape inside a boolean mask of the whole canvas."""
        return shape[0], shape[1] * mask[shape[0]]

    def _box_around(self, start: Point, end: Point, radius: float) -> Box:
        margin = radius + max(self.grid.spacing)
        low = tuple(min(a, b) - margin for a, b in zip(start, end, strict=True))
        high = tuple(max(a, b) + margin for a, b in zip(start, end, strict=True))
        return self.grid.box(low, high)  # type: ignore[arg-type]

    def _soften(self, depth: Array) -> Array:
        """Turn the depth below a surface, in mm, into the filled share of a voxel."""
        return np.clip(depth / self.grid.spacing[0] + 0.5, 0, 1)
