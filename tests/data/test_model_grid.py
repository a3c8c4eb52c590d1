"""Grids of given spacing: sizes in mm, positions, the share of the lungs outside, and the keys of the cache."""

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torchio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.hu.model_grid import ModelGrid, describe_grid
from bimcvr.data.loading.views import apply_view
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.resample import read_on_grid, read_resized
from bimcvr.errors import UserError

Triple = tuple[float, float, float]
LENGTHS, MILLIMETRES = st.integers(2, 24), st.sampled_from([0.5, 0.7, 0.9, 1.0, 1.5, 2.0, 3.3, 5.0])
TISSUE, LUNG = 40, -800
# in TorchIO's world, RAS+: to the left is negative
_MOVE = torchio.Affine(scales=1, degrees=0, translation=(-8.0, 0.0, 8.0), image_interpolation="nearest")


def _saved(hu: np.ndarray, spacing: Triple, path: Path, code: str = "LPS") -> Path:
    """Write canonical voxels with their spacing (D, H, W), stored in another order of axes."""
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(sitk.DICOMOrient(image, code), str(path), True)
    return path


def _ball(shape: tuple[int, int, int], spacing: Triple, shift: Triple) -> np.ndarray:
    """A ball of 40 mm in lung, each voxel the mean over its own box, as a scanner's slices are."""
    fine = 3
    axes = [
        ((np.arange(length * fine) + 0.5) / fine - length / 2) * mm - off
        for length, mm, off in zip(shape, spacing, shift, strict=True)
    ]
    z, y, x = np.ix_(*axes)
    inside = (z**2 + y**2 + x**2 <= 20**2).reshape(shape[0], fine, shape[1], fine, shape[2], fine)
    return np.rint(LUNG + (TISSUE - LUNG) * inside.mean(axis=(1, 3, 5)))


@pytest.mark.parametrize(
    ("shape", "spacing"), [((64, 90, 90), (1.0, 0.7, 0.7)), ((14, 70, 70), (5.0, 0.9, 0.9))], ids=["thin", "thick"]
)
@pytest.mark.parametrize("target", [(1.5, 1.5, 1.5), (2.0, 2.0, 2.0), (3.0, 1.5, 1.5)])
def test_a_ball_of_40_mm_measures_40_mm(
    tmp_path: Path, shape: tuple[int, int, int], spacing: Triple, target: Triple
) -> None:
    hu = _ball(shape, spacing, shift=(1.3, -2.1, 0.4))
    seen = read_on_grid(_saved(hu, spacing, tmp_path / "ball.nii.gz", "RAS"), ModelGrid((40, 40, 40), target))
    assert seen.spacing == target
    solid = np.clip((seen.hu - LUNG) / (TISSUE - LUNG), 0, None) * (seen.hu > -1000)
    above = solid > 0.5
    assert (6 * above.sum() * math.prod(target) / np.pi) ** (1 / 3) == pytest.approx(40, abs=1)
    # its extent along each axis, on the line through its middle: between the two places where half of it is passed
    middle = np.rint(np.argwhere(above).mean(axis=0)).astype(int)
    for axis, mm in enumerate(target):
        line = solid[tuple(slice(None) if axis == other else middle[other] for other in range(3))]
        assert _width(line) * mm == pytest.approx(40, abs=1)


def _width(line: np.ndarray) -> float:
    """Voxels between the first rise and the last fall through one half, between voxels by linear interpolation."""
    inside = np.flatnonzero(line > 0.5)
    low, high = inside[0], inside[-1]
    rise = (line[low] - 0.5) / (line[low] - line[low - 1])
    fall = (line[high] - 0.5) / (line[high] - line[high + 1])
    return float(high - low + rise + fall)


def _reference(hu: np.ndarray, spacing: Triple, size: tuple[int, int, int], target: Triple) -> np.ndarray:
    """The same in float64, voxel by voxel, in mm from the middle of the volume."""
    volume, outside = hu.astype(np.float64), np.zeros(size, dtype=bool)
    for axis, (new, mm, old_mm) in enumerate(zip(size, target, spacing, strict=True)):
        old = volume.shape[axis]
        whole = max(1, round(old * old_mm / mm))
        lines, made = np.moveaxis(volume, axis, 0), []
        for index in range(new):
            place = index + (whole - new) // 2
            if not 0 <= place < whole:
                np.moveaxis(outside, axis, 0)[index] = True
                place = 0
            centre = (place + 0.5 - whole / 2) * mm
            weights = [max(0.0, 1 - abs((k + 0.5 - old / 2) * old_mm - centre) / max(mm, old_mm)) for k in range(old)]
            made.append(np.tensordot(np.array(weights) / sum(weights), lines, axes=1))
        volume = np.moveaxis(np.array(made), 0, axis)
    return np.where(outside, -1000, volume)


@settings(max_examples=40, deadline=None)
@example(
    shape=(15, 2, 2),
    spacing=(0.9, 0.5, 0.5),
    size=(2, 2, 2),
    target=(1.0, 0.5, 0.5),
    seed=0,
    code="LPS",
    suffix=".nii.gz",
)
@given(
    shape=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    spacing=st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES),
    size=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    target=st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES),
    seed=st.integers(0, 99),
    code=st.sampled_from(["LPS", "RAS", "LAS", "SRA", "AIL", "PSR"]),
    suffix=st.sampled_from([".nii.gz", ".mha"]),
)
def test_any_grid_in_any_orientation_agrees_with_the_slow_filter(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    spacing: Triple,
    size: tuple[int, int, int],
    target: Triple,
    seed: int,
    code: str,
    suffix: str,
) -> None:
    hu = np.random.default_rng(seed).integers(-1024, 3072, shape).astype(np.int16)
    path = _saved(hu, spacing, tmp_path_factory.mktemp("grids") / f"volume{suffix}", code)
    seen = read_on_grid(path, ModelGrid(size, target))
    assert (seen.hu.shape, seen.spacing, seen.geometry.native_size) == (size, target, shape)
    # spacings are float32 in NIfTI: fifteen voxels of 0.9 mm are less than 13.5 there, and so 13 of 1 mm, not 14
    stored = np.float32(spacing).tolist() if suffix == ".nii.gz" else spacing
    assert np.abs(seen.hu - _reference(hu, stored, size, target)).max() < 0.51 + 0.1 * (suffix == ".nii.gz")


def test_finer_voxels_are_simpleitks_linear_interpolation(tmp_path: Path) -> None:
    hu, target = np.random.default_rng(0).integers(-1000, 1000, (9, 12, 15)), (1.0, 0.5, 0.75)
    path = _saved(hu, (3.0, 1.5, 1.5), tmp_path / "volume.nii.gz")
    image = sitk.ReadImage(str(path), sitk.sitkFloat64)
    size = (20, 24, 19)
    grid = sitk.Image(size, sitk.sitkFloat64)
    grid.SetSpacing(target[::-1])
    middle = image.TransformContinuousIndexToPhysicalPoint([(length - 1) / 2 for length in image.GetSize()])
    grid.SetOrigin([at - (new - 1) / 2 * mm for at, new, mm in zip(middle, size, target[::-1], strict=True)])
    theirs = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, -1000.0))
    assert np.abs(read_on_grid(path, ModelGrid((19, 24, 20), target)).hu - theirs).max() < 0.51


@pytest.mark.parametrize("code", ["LPS", "RAS", "SRA"])
def test_a_volume_of_the_grids_spacing_is_cropped_and_padded_voxel_by_voxel(tmp_path: Path, code: str) -> None:
    hu = np.random.default_rng(0).integers(-1024, 3072, (10, 11, 12)).astype(np.int16)
    path = _saved(hu, (5.0, 0.7, 0.9), tmp_path / "volume.nii.gz", code)
    seen = read_on_grid(path, ModelGrid((7, 16, 12), (5.0, 0.7, 0.9))).hu
    expected = np.full((7, 16, 12), -1000, dtype=np.int16)
    # of an odd number of voxels one more is cut above than below, and one more is padded before than behind
    expected[:, 3:14] = hu[1:8]
    assert np.array_equal(seen, expected)


def _trunk(shift: int = 0) -> np.ndarray:
    """A body of 240 × 320 mm with two lungs, in voxels of 4 mm; `shift` moves it along x, in voxels."""
    z, y, x = np.mgrid[:50, :90, :110]
    y, x = y - 44.5, x - 54.5 - shift
    hu = np.where((y / 30) ** 2 + (x / 40) ** 2 < 1, TISSUE, -1000)
    for side in (-1, 1):
        lung = (y / 20) ** 2 + ((x - 18 * side) / 14) ** 2 + ((z - 24.5) / 22) ** 2 < 1
        hu[lung & ~((z < 2) | (z > 47))] = LUNG
    return hu


@pytest.mark.parametrize("code", ["LPS", "RAS", "AIL"])
def test_the_share_of_the_lungs_outside_is_that_of_their_voxels(tmp_path: Path, code: str) -> None:
    hu = _trunk()
    path = _saved(hu, (4.0, 4.0, 4.0), tmp_path / "trunk.nii.gz", code)
    assert read_on_grid(path, ModelGrid((50, 90, 110), (4.0, 4.0, 4.0))).lungs_outside == 0
    assert read_on_grid(path, ModelGrid((60, 70, 90), (4.0, 4.0, 4.0))).lungs_outside == 0
    lung = hu == LUNG
    kept = lung[10:40, :, 35:75].sum() / lung.sum()
    # thin ends of lungs are none in the audit's measure
    assert read_on_grid(path, ModelGrid((30, 90, 40), (4.0, 4.0, 4.0))).lungs_outside == pytest.approx(
        1 - kept, abs=0.03
    )
    assert read_on_grid(path, ModelGrid((10, 23, 30), (12.0, 16.0, 16.0))).lungs_outside == pytest.approx(
        1 - lung[10:40].sum() / lung.sum(), abs=0.03
    )


def test_where_no_lungs_are_found_their_share_is_unknown(tmp_path: Path) -> None:
    path = _saved(np.full((20, 20, 20), TISSUE), (4.0, 4.0, 4.0), tmp_path / "legs.nii.gz")
    assert read_on_grid(path, ModelGrid((10, 20, 20), (4.0, 4.0, 4.0))).lungs_outside is None
    assert read_on_grid(path, ModelGrid((20, 20, 20), (4.0, 4.0, 4.0))).lungs_outside == 0
    assert read_on_grid(path, ModelGrid((10, 10, 10))).lungs_outside == 0


@pytest.mark.parametrize("code", ["LPS", "RAS", "AIL"])
def test_a_body_centred_grid_follows_the_body_and_never_leaves_the_volume(tmp_path: Path, code: str) -> None:
    hu, mm = _trunk(shift=12), (4.0, 4.0, 4.0)
    path = _saved(hu, mm, tmp_path / "trunk.nii.gz", code)
    seen = read_on_grid(path, ModelGrid((50, 70, 84), mm, "body"))
    assert np.array_equal(seen.hu, hu[:, 10:80, 13 + 12 : 97 + 12])
    assert seen.lungs_outside == 0
    lung = hu == LUNG
    for grid, kept in (
        (ModelGrid((50, 70, 60), mm, "body"), lung[..., 37:97]),
        (ModelGrid((50, 70, 60), mm), lung[..., 25:85]),
    ):
        share = read_on_grid(path, grid).lungs_outside
        assert share == pytest.approx(1 - kept.sum() / lung.sum(), abs=0.03)
    # all of the volume fits: it is moved, but nothing of it is lost
    wide = read_on_grid(path, ModelGrid((50, 90, 120), mm, "body"))
    assert np.array_equal(wide.hu[:, :, :110], hu)
    assert np.all(wide.hu[:, :, 110:] == -1000)
    # without a body it is the volume's middle
    air = _saved(np.full((9, 9, 9), -1000), mm, tmp_path / "air.nii.gz", code)
    assert read_on_grid(air, ModelGrid((5, 5, 5), mm, "body")).lungs_outside is None


@given(
    shape=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    spacing=st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES),
    size=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    target=st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES),
    middle=st.none() | st.tuples(*[st.floats(-5, 30)] * 3),
)
def test_spans_fill_the_grid_or_cover_the_volume(
    shape: tuple[int, int, int], spacing: Triple, size: tuple[int, int, int], target: Triple, middle: Triple | None
) -> None:
    for span, old, old_mm, new, mm in zip(
        ModelGrid(size, target).spans(shape, spacing, middle), shape, spacing, size, target, strict=True
    ):
        assert 0 <= span.start < span.stop <= new
        end = span.first + (span.stop - span.start) * span.step
        assert span.step * old_mm == pytest.approx(mm)
        assert span.cuts == (span.stop - span.start < max(1, round(old * old_mm / mm)))
        if span.cuts:
            assert (span.start, span.stop) == (0, new)
        else:  # to half a voxel, from face to face
            assert abs(span.first + end - old) < 1e-9
            assert abs(end - span.first - old) <= max(0.5 * span.step, span.step - old) + 1e-9


def test_the_keys_of_old_caches_stay_and_each_grid_has_its_own(tmp_path: Path) -> None:
    def key(grid: ModelGrid, rules: GridRules = DEFAULT_RULES) -> str:
        entry = VolumeCache(tmp_path, grid, rules).entry(Path(), "abc")
        return entry.parent.name + entry.stem

    # as it was before there were spacings
    assert key(ModelGrid((6, 8, 8))) == "7b6dbb966efd08bf06334c48b5a3f5f09b"
    assert key(ModelGrid((6, 8, 8)), GridRules("qform")) == "eb5ba6ca18c15ea85a3217379dce4a00c9"
    size = (6, 8, 8)
    grids = [
        ModelGrid(size),
        ModelGrid(size, (1.5, 1.5, 1.5)),
        ModelGrid(size, (1.5, 1.5, 1.500001)),
        ModelGrid(size, (3.0, 1.5, 1.5)),
        ModelGrid(size, (1.5, 3.0, 1.5)),
        ModelGrid(size, (1.5, 1.5, 1.5), "body"),
        ModelGrid((8, 6, 8), (1.5, 1.5, 1.5)),
    ]
    assert len({key(grid) for grid in grids}) == len(grids)
    assert key(ModelGrid(size, (2, 2, 2))) == key(ModelGrid(size, (2.0, 2.0, 2.0)))


def test_the_cache_keeps_voxels_spacing_and_what_is_cut(tmp_path: Path) -> None:
    grid = ModelGrid((30, 90, 110), (4.0, 4.0, 4.0))
    path, cache = _saved(_trunk(), (4.0, 4.0, 4.0), tmp_path / "trunk.nii.gz"), VolumeCache(tmp_path / "cache", grid)
    seen, entry = read_on_grid(path, grid), cache.entry(path)
    cache.put(path, entry)
    kept = cache.read(entry, verify=True)
    assert np.array_equal(kept.hu, seen.hu)
    assert (kept.spacing, cache.lungs_outside(entry)) == (grid.spacing, seen.lungs_outside)
    # a view in mm moves by mm: 8 mm to the patient's left and up are two voxels each
    moved = apply_view(torch.from_numpy(kept.hu.astype(np.float32)), kept.spacing, _MOVE, seed=0)
    assert np.array_equal(moved[2:, :, 2:], kept.hu[:-2, :, :-2])


def test_a_grid_says_what_it_is() -> None:
    grid = ModelGrid((96, 224, 224), (3, 1.5, 1.5), "body")
    assert str(grid) == describe_grid(grid.facts()) == "96 × 224 × 224 at 3 × 1.5 × 1.5 mm, body-centred"
    assert str(ModelGrid((6, 8, 8))) == describe_grid({"grid": [6, 8, 8]}) == "6 × 8 × 8"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (((0, 8, 8),), "must each be 1 or more"),
        (((6, 8, 8), (1.5, 0.0, 1.5)), "above 0"),
        (((6, 8, 8), (1.5, float("nan"), 1.5)), "above 0"),
        (((6, 8, 8), (1.5, float("inf"), 1.5)), "above 0"),
        (((6, 8, 8), None, "body"), "needs a spacing"),
        (((6, 8, 8), (1.5, 1.5, 1.5), "lungs"), "volume or body"),
    ],
)
def test_a_grid_that_is_none_is_refused(words: tuple[object, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelGrid(*words)  # type: ignore[arg-type]


def test_without_a_spacing_it_is_the_whole_volume(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1024, 3072, (10, 11, 12))
    path = _saved(hu, (5.0, 0.7, 0.9), tmp_path / "volume.nii.gz", "RAS")
    whole, seen = read_resized(path, (4, 5, 6)), read_on_grid(path, ModelGrid((4, 5, 6)))
    assert np.array_equal(whole.hu, seen.hu)
    assert whole.spacing == seen.spacing == pytest.approx((12.5, 1.54, 1.8))
