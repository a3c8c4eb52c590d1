"""Measurements of a volume for the audit, from one pass over its voxels."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.curation.audit.chest_anatomy import ChestFacts, measure_chest
from bimcvr.curation.audit.nifti_orientation import orientation_conflict
from bimcvr.curation.audit.slice_facts import SliceFacts, SliceTally
from bimcvr.data.hu.coarse_copy import CoarseCopy
from bimcvr.data.hu.intensity import AIR, HIGHEST, LOWEST
from bimcvr.data.hu.reconstruction_circle import ReconstructionCircle
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.volume import NativeImage, geometry_of, read_image

# incremented whenever the same file would have other facts
FACTS_VERSION = 3
# values below are padding, since no scanner produces them
PADDING = -1500
_BINS, _ZERO = 65536, 32768


@dataclass(frozen=True)
class ValueFacts:
    """The distribution of the voxels' values before cleaning; shares are of all voxels.

    Attributes:
        lowest: the smallest value, rounded, without padding unless there is nothing else.
        highest: the largest.
        padding: share below −1500.
        low: share from −1500 to −300: air, lung.
        soft: share from −200 to 300: fat to bone marrow.
        bright: share above 500: bone, metal, dense contrast medium.
        raised: share from 824 to 1224, the range of soft tissue if 1024 was not subtracted.
        dense: share above −500: everything but air and lung.
        dense_median: the median of these values.
    """

    lowest: int
    highest: int
    padding: float
    low: float
    soft: float
    bright: float
    raised: float
    dense: float
    dense_median: int


@dataclass(frozen=True)
class VolumeFacts:
    """The measurements of a volume that can be read; sizes and spacings are (D, H, W) in canonical axes.

    Attributes:
        size: in voxels.
        spacing: in mm.
        orientation: the directions of the file's x, y and z axes, such as `LPS`.
        obliquity: the largest angle in degrees between an axis of the file and the nearest axis of the patient.
        padding_inside: share of the voxels inside the reconstruction circle that are padding.
        padding_outside: the same outside of the circle.
        missing: share of all voxels that are missing: not finite, padding inside the circle, or in a blank slice.
        blank_slices: number of slices with a single value, which are missing in the series.
        orientation_conflict: how the header contradicts itself; empty if it does not.
        values: the distribution of the values.
        slices: how the slices follow each other.
        chest: the measurements of the anatomy.
        content: a fingerprint of the voxels, independent of the header and the order of the axes.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    obliquity: float
    padding_inside: float
    padding_outside: float
    missing: float
    blank_slices: int
    orientation_conflict: str
    values: ValueFacts
    slices: SliceFacts
    chest: ChestFacts
    content: str

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> "VolumeFacts":
        """Return the facts that `to_json` wrote."""
        chest = record["chest"] | {name: tuple(record["chest"][name]) for name in ("cut", "mirror", "lung_ends")}
        nested = {
            "values": ValueFacts(**record["values"]),
            "slices": SliceFacts(**record["slices"]),
            "chest": ChestFacts(**chest),
        }
        return VolumeFacts(**(record | nested | {name: tuple(record[name]) for name in ("size", "spacing")}))


def measure_volume(path: Path, rules: GridRules = DEFAULT_RULES) -> VolumeFacts:
    """Read a volume once and measure it.

    Args:
        path: a volume file, or a folder with the slices of one DICOM series.
        rules: which grids are accepted.

    Raises:
        RefusedVolume: it is not a regular volume in HU; `reason` says why.
    """
    native = read_image(path, rules)
    cleaner = native.cleaner(HIGHEST)
    tally, slices = _Tally(native), SliceTally(native)
    coarse = CoarseCopy(native.shape, native.spacing, native.axes)
    for start, slab in cleaner.clean(tally.watch(native.slabs())):
        slices.add(slab)
        coarse.add(start, slab)
    geometry = geometry_of(native, cleaner)
    return VolumeFacts(
        size=geometry.native_size,
        spacing=geometry.native_spacing,
        orientation=geometry.orientation,
        obliquity=geometry.obliquity,
        padding_inside=round(geometry.padding_inside, 6),
        padding_outside=round(geometry.padding_outside, 6),
        missing=round(tally.missing / math.prod(native.shape), 6),
        blank_slices=tally.blank,
        orientation_conflict=orientation_conflict(path) if rules.nifti_form == "auto" else "",
        values=tally.values(),
        slices=slices.facts(),
        chest=measure_chest(coarse.hu(), coarse.spacing),
        content=tally.fingerprint(),
    )


class _Tally:
    """Counts the raw values of a volume, and its missing voxels, slab by slab."""

    def __init__(self, native: NativeImage) -> None:
        self._shape = native.shape
        self._counts = np.zeros(_BINS, dtype=np.int64)
        declared = native.stack.padding if native.stack else None
        # as in the reader: some files declare 0, which is also water
        self._declared = declared if declared is not None and declared <= AIR else None
        self._circle = ReconstructionCircle(native.shape, native.axes)
        self.missing = 0
        self.blank = 0

    def watch(self, slabs: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield slabs unchanged, in order along the first axis, and count their values."""
        start = 0
        for slab in slabs:
            lowest, highest = slab.min(axis=(1, 2)), slab.max(axis=(1, 2))
            finite = np.isfinite(slab) if not (np.isfinite(lowest) & np.isfinite(highest)).all() else None
            blank = (lowest == highest) if finite is None else (lowest == highest) | ~finite.any(axis=(1, 2))
            self._count(slab if finite is None else slab[finite])
            if finite is not None or blank.any() or self._declared is not None or lowest.min() < PADDING:
                self._count_missing(slab, start, finite, blank)
            yield slab
            start += len(slab)

    def values(self) -> ValueFacts:
        """Return the distribution of the values counted so far."""
        counts, total = self._counts, max(1, math.prod(self._shape))
        present = np.flatnonzero(counts) - _ZERO
        proper = present[present >= PADDING] if (present >= PADDING).any() else present

        def share(low: int, high: int) -> float:
            return round(float(counts[low + _ZERO : high + _ZERO].sum()) / total, 6)

        dense = np.cumsum(counts[-500 + _ZERO :])
        return ValueFacts(
            lowest=int(proper[0]) if len(proper) else 0,
            highest=int(proper[-1]) if len(proper) else 0,
            padding=share(-_ZERO, PADDING),
            low=share(PADDING, -300),
            soft=share(-200, 300),
            bright=share(500, _ZERO),
            raised=share(824, 1224),
            dense=share(-500, _ZERO),
            dense_median=int(np.searchsorted(dense, dense[-1] / 2)) - 500,
        )

    def fingerprint(self) -> str:
        """Return a hash of the histogram of the cleaned values.

        The histogram of millions of noisy voxels over thousands of values is unique to a volume, and does not depend
        on the order of the axes, the padding value or the header.
        """
        values = np.arange(_BINS) - _ZERO
        values[(values < PADDING) | (values == (AIR if self._declared is None else self._declared))] = int(AIR)
        cleaned = np.bincount(np.clip(values, int(LOWEST), int(HIGHEST)) - int(LOWEST), weights=self._counts)
        cleaned[int(AIR - LOWEST)] += math.prod(self._shape) - self._counts.sum()
        shape = ",".join(map(str, sorted(self._shape)))
        return hashlib.sha256(shape.encode() + cleaned.astype("<i8").tobytes()).hexdigest()[:32]

    def _count(self, slab: np.ndarray) -> None:
        if slab.dtype != np.int16:
            whole = slab if slab.dtype.kind in "iu" else np.rint(slab)
            slab = np.clip(whole, -_ZERO, _ZERO - 1).astype(np.int16)
        # the bits of a negative number are those of one above all others: counted without a copy
        counts = np.bincount(slab.ravel().view(np.uint16), minlength=_BINS)
        self._counts += np.roll(counts, _ZERO)

    def _count_missing(self, slab: np.ndarray, start: int, finite: np.ndarray | None, blank: np.ndarray) -> None:
        padding = slab < PADDING
        if self._declared is not None:
            padding |= slab == self._declared
        missing = padding & self._circle.slab(start, start + len(slab))
        if finite is not None:
            missing |= ~finite
        missing[blank] = True
        self.missing += int(np.count_nonzero(missing))
        self.blank += int(np.count_nonzero(blank))
