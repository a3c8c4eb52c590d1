"""The facts of a volume: each number against a slow count, and a fingerprint that headers do not change."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from defective import chest, padded, write

from bimcvr.curation.audit import volume_facts
from bimcvr.curation.audit.volume_facts import VolumeFacts, measure_volume
from bimcvr.data.hu.geometry import axes_of
from bimcvr.data.reading.dicom_series import DicomStack
from bimcvr.data.reading.grid import Grid
from bimcvr.data.reading.volume import NativeImage, RefusedVolume, read_volume
from bimcvr.data.reading.voxels import DecodedVoxels

SPACING = (3.0, 2.0, 2.0)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1200, (24, 30, 26)).astype(np.int16)


def slow_missing(raw: np.ndarray) -> float:
    """Count voxel by voxel what the paper's filter calls missing."""
    depth, height, width = raw.shape
    count = 0
    for z in range(depth):
        blank = np.unique(raw[z]).size == 1
        for y in range(height):
            for x in range(width):
                inside = ((y + 0.5) / (height / 2) - 1) ** 2 + ((x + 0.5) / (width / 2) - 1) ** 2 <= 1
                value = raw[z, y, x]
                count += bool(blank or not np.isfinite(value) or (value < -1500 and inside))
    return count / raw.size


@pytest.mark.parametrize(
    "kind", ["sound", "padding", "corners", "not finite", "blank slices", "blank padding", "all at once"]
)
def test_the_missing_share_is_that_of_a_slow_count(kind: str, noise: np.ndarray, tmp_path: Path) -> None:
    raw = noise.astype(np.float32)
    if kind in ("padding", "all at once"):
        raw[4:9, 5:20, :14] = -2000
    if kind in ("corners", "all at once"):
        raw[:, :3, :3] = raw[:, -3:, -3:] = -2048
    if kind in ("not finite", "all at once"):
        raw[1, :, 3] = np.nan
        raw[2, 3] = np.inf
    if kind in ("blank slices", "all at once"):
        raw[15:17] = 7
        raw[17] = np.nan
    if kind in ("blank padding", "all at once"):
        raw[20:22] = -2000
    facts = measure_volume(write(tmp_path / "v.nii", raw, SPACING))
    expected = 0 if kind in ("sound", "corners") else slow_missing(raw)
    assert facts.missing == pytest.approx(expected, abs=1e-6)
    assert facts.blank_slices == {"blank slices": 3, "blank padding": 2, "all at once": 5}.get(kind, 0)
    assert facts.padding_inside == pytest.approx(read_volume(tmp_path / "v.nii").geometry.padding_inside, abs=1e-6)


@pytest.mark.parametrize(("declared", "heeded"), [(-1200, True), (0, False), (None, False)])
def test_a_declared_padding_value_is_heeded_where_it_cannot_be_tissue(declared: int | None, heeded: bool) -> None:
    raw = np.random.default_rng(0).integers(-900, 900, (4, 20, 20)).astype(np.int16)
    raw[:, 5:12, 5:12] = 0 if declared is None else declared
    grid = Grid((4, 20, 20), SPACING, np.eye(3), (0.0, 0.0, 0.0))
    stack = DicomStack((), grid, None, 0.0, 0.0, None if declared is None else float(declared), False, ())
    axes, voxels = axes_of(np.eye(3)), DecodedVoxels(None)
    native = NativeImage(Path("series"), voxels, grid.shape, SPACING, grid.direction, grid.origin, axes, stack)
    tally = volume_facts._Tally(native)
    assert sum(len(slab) for slab in tally.watch(iter([raw[:3], raw[3:]]))) == 4
    assert tally.missing == (4 * 7 * 7 if heeded else 0)


def test_the_distribution_is_that_of_the_raw_values(noise: np.ndarray, tmp_path: Path) -> None:
    noise[0, 0, :5] = -2048
    image = sitk.GetImageFromArray(noise)
    image.SetSpacing(SPACING[::-1])
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    values = measure_volume(tmp_path / "v.nrrd").values
    assert (values.lowest, values.highest) == (noise[noise > -1500].min(), noise.max())
    for share, low, high in (
        (values.padding, -4000, -1500),
        (values.low, -1500, -300),
        (values.soft, -200, 300),
        (values.raised, 824, 1224),
        (values.dense, -500, 4000),
    ):
        assert share == pytest.approx(((noise >= low) & (noise < high)).mean(), abs=1e-6)
    assert values.dense_median == pytest.approx(np.median(noise[noise >= -500]), abs=1)


def test_the_fingerprint_does_not_see_headers_axes_or_padding(noise: np.ndarray, tmp_path: Path) -> None:
    noise[:, 0, 0] = -2000
    first = measure_volume(write(tmp_path / "a.nii", noise, SPACING))
    repadded = np.where(noise == -2000, -3024, noise).astype(np.int16)
    others = [
        write(tmp_path / "spacing.nii.gz", noise, (1.0, 1.0, 1.0)),
        write(tmp_path / "flipped.nii", noise[::-1, :, ::-1], SPACING, np.diag([-1.0, 1.0, -1.0])),
        write(tmp_path / "wrong.nii", noise, SPACING, np.diag([-1.0, -1.0, 1.0])),
        write(tmp_path / "permuted.nrrd", noise.transpose(2, 0, 1), (2.0, 3.0, 2.0)),
        write(tmp_path / "float.mha", repadded.astype(np.float32), SPACING),
    ]
    assert {measure_volume(path).content for path in others} == {first.content}
    noise[10, 10, 10] += 1
    assert measure_volume(write(tmp_path / "b.nii", noise, SPACING)).content != first.content


def test_two_scans_of_one_patient_have_their_own_fingerprints(tmp_path: Path) -> None:
    first, second = (measure_volume(write(tmp_path / f"{patient}.nii", *chest(patient))) for patient in (1, 2))
    assert first.content != second.content


def test_facts_survive_json(tmp_path: Path) -> None:
    facts = measure_volume(write(tmp_path / "v.nii", *chest(1)))
    assert VolumeFacts.from_json(json.loads(json.dumps(facts.to_json(), allow_nan=False))) == facts


def test_facts_hold_the_reader_s_geometry_and_its_refusals(tmp_path: Path) -> None:
    hu, spacing = chest(1)
    path = write(tmp_path / "v.nii", padded(hu, 0.2), spacing, np.diag([-1.0, 1.0, 1.0]))
    facts, geometry = measure_volume(path), read_volume(path).geometry
    assert (facts.size, facts.orientation) == (geometry.native_size, geometry.orientation)
    assert facts.spacing == pytest.approx(geometry.native_spacing)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RefusedVolume, match="ends before"):
        measure_volume(path)


def test_the_anatomy_hardly_depends_on_the_grid(tmp_path: Path) -> None:
    hu, spacing = chest(3)
    coarse = measure_volume(write(tmp_path / "a.nii", hu, spacing))
    finer = np.repeat(np.repeat(hu, 3, axis=1), 3, axis=2)
    fine = measure_volume(write(tmp_path / "b.nii", finer, (spacing[0], spacing[1] / 3, spacing[2] / 3)))
    assert fine.chest.lung_ml == pytest.approx(coarse.chest.lung_ml, rel=0.05)
    assert fine.chest.width == pytest.approx(coarse.chest.width, rel=0.03)
    assert 2000 < coarse.chest.lung_ml < 6000
