"""From findings to a volume file: paint the patient, add the scanner's blur and noise, write NIfTI."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.atomic_files import replacing, require_room, require_whole_gzip
from bimcvr.phantom.image import chest_lesions, lung_lesions
from bimcvr.phantom.image.anatomy import paint_chest
from bimcvr.phantom.image.body import adapt, draw_body
from bimcvr.phantom.image.canvas import Canvas, Grid, make_grid
from bimcvr.phantom.image.places import deformed_organ, label_map
from bimcvr.phantom.reports.findings import PlantedFinding, Rng

_NIFTI_HEADER = 352


@dataclass(frozen=True)
class Scan:
    """One volume to be made.

    Attributes:
        study_id: its name.
        patient: the patient's number.
        key: session and run, which seed its random draws together with the patient.
        findings: what it shows.
        seed: the cohort's seed.
    """

    study_id: str
    patient: int
    key: tuple[int, int]
    findings: tuple[PlantedFinding, ...]
    seed: int


@dataclass(frozen=True)
class PhantomVolume:
    """A volume as it is stored in a file.

    Attributes:
        hu: int16 (D, H, W) in storage order, Hounsfield units.
        grid: the voxel centres in patient mm, ascending.
        flips: which of (z, y, x) are stored in descending order.
        findings: the voxels of each finding, bool (D, H, W) in ascending order, as `Canvas.findings`.
    """

    hu: np.ndarray
    grid: Grid
    flips: tuple[bool, bool, bool]
    findings: dict[PlantedFinding, np.ndarray]


def make_volume(scan: Scan) -> PhantomVolume:
    """Paint and expose a scan; the same scan gives the same voxels bit by bit, whatever else is made."""
    chance = np.random.default_rng([scan.seed, scan.patient, 7, *scan.key])
    grid = draw_grid(scan, chance)
    canvas = paint(scan, grid)
    hu = expose(canvas.hu, chance)
    flips = tuple(bool(chance.random() < 0.3) for _ in range(3))
    return PhantomVolume(as_stored(hu, flips), grid, flips, canvas.findings)  # type: ignore[arg-type]


def paint(scan: Scan, grid: Grid) -> Canvas:
    """Paint the patient and findings of a scan in HU, without blur and noise."""
    build = draw_body(np.random.default_rng([scan.seed, scan.patient, 1]))
    body = adapt(build, scan.findings)
    canvas = paint_chest(body, grid, np.random.default_rng([scan.seed, scan.patient, 2]))
    findings = sorted(scan.findings, key=lambda finding: ORDER.get(finding.finding, -1))
    for finding in findings:
        canvas.begin(finding)
        if finding.finding in ORDER:
            # seeded by name, so that a finding that is still there at a follow-up is at the same position
            name_seed = zlib.crc32(f"{finding.finding} {finding.site}".encode())
            PAINTERS[finding.finding](
                canvas, body, finding, np.random.default_rng([scan.seed, scan.patient, 3, name_seed])
            )
        else:
            canvas.findings[finding] = deformed_organ(canvas, body, finding)
    return canvas


def draw_grid(scan: Scan, chance: Rng) -> Grid:
    """Draw a scan's matrix, spacing and position on the table; at least 96 voxels in each direction."""
    body = draw_body(np.random.default_rng([scan.seed, scan.patient, 1]))
    across = int(chance.integers(48, 53)) * 2
    slices = int(chance.integers(96, 111))
    pixel = (2 * (body.width + body.fat + 24) + chance.uniform(14, 40)) / across
    high = chance.uniform(298, 318) * body.height / slices
    centre = (chance.uniform(-6, 6), 4 + chance.uniform(-6, 6), -8 + chance.uniform(-7, 7))
    return make_grid((slices, across, across), (round(pixel, 3), round(pixel, 3), round(high, 3)), centre)


def expose(hu: np.ndarray, chance: Rng) -> np.ndarray:
    """Blur and add noise as a reconstruction kernel does; returns int16 HU in [-1024, 3071]."""
    noise = chance.standard_normal(hu.shape, dtype=np.float32)
    noise *= chance.uniform(12, 40)
    noise += hu
    soft = chance.uniform(0.10, 0.22)
    for axis in (1, 2):
        noise = _smooth(noise, axis, soft)
    return np.clip(np.rint(noise), -1024, 3071).astype(np.int16)


def as_stored(array: np.ndarray, flips: Sequence[bool]) -> np.ndarray:
    """Return an array (z, y, x) in ascending order as a file stores it."""
    return np.ascontiguousarray(array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)])


def write_volume(volume: PhantomVolume, path: Path) -> None:
    """Write a volume as compressed NIfTI, whole or not at all, with its orientation in the patient."""
    _write(volume.hu, volume, path)


def write_masks(volume: PhantomVolume, path: Path) -> None:
    """Write the voxels of a volume's findings as compressed NIfTI on its grid: see `places.label_map`."""
    _write(as_stored(label_map(volume.findings, volume.grid.shape), volume.flips), volume, path)


def _write(stored: np.ndarray, volume: PhantomVolume, path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(stored)
    axes = (volume.grid.x, volume.grid.y, volume.grid.z)
    flips = volume.flips[::-1]
    image.SetSpacing(volume.grid.spacing)
    image.SetOrigin([float(axis[-1] if flip else axis[0]) for axis, flip in zip(axes, flips, strict=True)])
    image.SetDirection(np.diag([-1.0 if flip else 1.0 for flip in flips]).ravel().tolist())
    with replacing(path) as temporary:
        # ITK itself would print a line of its own
        require_room(temporary.parent, volume.hu.nbytes, f"the voxels of {path.name}")
        sitk.WriteImage(image, str(temporary), True, 1)
        require_whole_gzip(temporary, _NIFTI_HEADER + stored.nbytes)


def _smooth(values: np.ndarray, axis: int, weight: float) -> np.ndarray:
    """Average each voxel with its two neighbours along an axis, which get `weight` each."""
    out = values * np.float32(1 - 2 * weight)
    target = [slice(None)] * 3
    source = [slice(None)] * 3
    for low, high in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
        target[axis], source[axis] = low, high
        out[tuple(target)] += np.float32(weight) * values[tuple(source)]
    ends = values.shape[axis] - 1
    for end in (0, ends):
        target[axis] = slice(end, end + 1)
        out[tuple(target)] += np.float32(weight) * values[tuple(target)]
    return out


PAINTERS = {**lung_lesions.PAINTERS, **chest_lesions.PAINTERS}
# later findings are painted over earlier ones: fluid and gas, then the lungs', then the mediastinum's
ORDER = {name: position for position, name in enumerate(PAINTERS)}
