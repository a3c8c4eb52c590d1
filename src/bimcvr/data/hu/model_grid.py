"""The grid that a model sees: a volume resized as a whole, or voxels of given mm around its centre."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bimcvr.errors import UserError

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]
Centre = Literal["volume", "body"]


class Span(NamedTuple):
    """Which voxels of one axis of a grid lie on a volume; the others lie outside and are air.

    Attributes:
        start: the first of them.
        stop: one behind the last of them.
        step: source voxels from one to the next.
        first: where their first face lies, in source voxels from the volume's first face.
        cuts: whether the volume reaches beyond the grid.
    """

    start: int
    stop: int
    step: float
    first: float
    cuts: bool


@dataclass(frozen=True)
class ModelGrid:
    """The grid that a model sees, in canonical axes.

    Without a spacing, the whole volume is resized to `size`, whatever its extent in mm: the paper's way. With a
    spacing, the volume is resampled to voxels of these mm, around its own centre, and then cropped or padded with air
    to `size`: a finding has the same size in every volume, but what lies outside is not seen.

    Attributes:
        size: (D, H, W) voxels: slices, rows, columns.
        spacing: mm along D, H, W; None resizes the whole volume.
        centre: what the middle of a grid with a spacing is laid on: the middle of the volume, or that of the body, as
            far as this neither cuts nor pads along an axis where the volume's middle would not.

    Raises:
        UserError: a side or a spacing is not positive, or `centre` is set without a spacing.
    """

    size: Size
    spacing: Spacing | None = None
    centre: Centre = "volume"

    def __post_init__(self) -> None:
        if len(self.size) != 3 or min(self.size) < 1:
            raise UserError(
                f"The grid is {list(self.size)}: slices, rows and columns must each be 1 or more, as in [96, 224, 224]."
            )
        if self.centre not in ("volume", "body"):
            raise UserError(f"The grid's centre is '{self.centre}': give volume or body.")
        if self.spacing is None:
            if self.centre != "volume":
                raise UserError(
                    f"centre {self.centre} needs a spacing: without one the whole volume is on the grid. Set spacing,"
                    " as in [1.5, 1.5, 1.5], or leave centre out."
                )
            return
        if len(self.spacing) != 3 or not all(math.isfinite(mm) and mm > 0 for mm in self.spacing):
            raise UserError(
                f"The grid's spacing is {list(self.spacing)}: mm from slice to slice, row to row and column to column"
                " must each be above 0, as in [3, 1.5, 1.5]."
            )
        # 2 and 2.0 are one grid, and one cache
        up, back, across = map(float, self.spacing)
        object.__setattr__(self, "spacing", (up, back, across))

    @property
    def identity(self) -> str:
        """Text for the keys of stored results, beside the size: empty without a spacing."""
        return "" if self.spacing is None else f"|{self.spacing}|{self.centre}"

    def facts(self) -> dict[str, Any]:
        """Return what a result, a file of embeddings or an index states of the grid."""
        return {
            "grid": list(self.size),
            "spacing_mm": None if self.spacing is None else list(self.spacing),
            "grid_centre": None if self.spacing is None else self.centre,
        }

    def __str__(self) -> str:
        return describe_grid(self.facts())

    def spans(self, shape: Sequence[int], spacing: Sequence[float], middle: Sequence[float] | None) -> list[Span]:
        """Lay the grid on a volume.

        With a spacing, the volume is divided into as many whole voxels as come nearest to its extent, in the middle of
        it, and the grid takes a range of these. A volume that has the grid's spacing is thus cropped without
        interpolation.

        Args:
            shape: (D, H, W) of the volume.
            spacing: its mm along the same axes.
            middle: where the grid's middle goes, in source voxels from each axis' first face; None for the middle of
                the volume.

        Returns:
            One span for each axis.
        """
        if self.spacing is None:
            return [Span(0, new, old / new, 0.0, cuts=False) for new, old in zip(self.size, shape, strict=True)]
        spans = []
        for axis, (size, mm, old, old_mm) in enumerate(zip(self.size, self.spacing, shape, spacing, strict=True)):
            step = mm / old_mm
            whole = max(1, round(old / step))
            face = (old - whole * step) / 2
            centre = whole / 2 if middle is None else (middle[axis] - face) / step
            # the lower of two equally near places
            first = math.ceil(centre - size / 2 - 0.5)
            first = max(min(first, max(0, whole - size)), min(0, whole - size))
            low, high = max(0, first), min(whole, first + size)
            spans.append(Span(low - first, high - first, step, face + low * step, high - low < whole))
        return spans


def describe_grid(facts: dict[str, Any]) -> str:
    """Return a grid in words, from what `ModelGrid.facts` states; of before there were spacings, too."""
    size = " × ".join(map(str, facts["grid"]))
    spacing = facts.get("spacing_mm")
    if spacing is None:
        return size
    centre = ", body-centred" if facts.get("grid_centre") == "body" else ""
    return f"{size} at {' × '.join(f'{mm:g}' for mm in spacing)} mm{centre}"
