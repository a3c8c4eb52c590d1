"""The resize against a slow float64 reference, and against torch's own antialiased interpolation."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.data.reading.resample import read_resized, triangle_weights

LENGTHS = st.integers(2, 40)


def _reference(hu: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Weigh every voxel by a triangle around every new voxel's centre, one axis after the other, in float64."""
    volume = hu.astype(np.float64)
    for axis, new in enumerate(size):
        old = volume.shape[axis]
        reach = max(1.0, old / new)
        lines = np.moveaxis(volume, axis, 0)
        resized = np.zeros((new, *lines.shape[1:]))
        for row in range(new):
            total = 0.0
            for column in range(old):
                weight = max(0.0, 1 - abs(column + 0.5 - (row + 0.5) * old / new) / reach)
                resized[row] += weight * lines[column]
                total += weight
            resized[row] /= total
        volume = np.moveaxis(resized, 0, axis)
    return volume


def _saved(hu: np.ndarray, path: Path, code: str = "LPS") -> Path:
    sitk.WriteImage(sitk.DICOMOrient(sitk.GetImageFromArray(hu), code), str(path), True)
    return path


@settings(max_examples=25, deadline=None)
@given(
    old=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    new=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    seed=st.integers(0, 99),
    code=st.sampled_from(["LPS", "RAS", "LAS", "SRA", "AIL", "PSR"]),
    suffix=st.sampled_from([".nii.gz", ".mha"]),
)
def test_any_size_in_any_orientation_agrees_with_the_slow_filter(
    tmp_path_factory: pytest.TempPathFactory,
    old: tuple[int, int, int],
    new: tuple[int, int, int],
    seed: int,
    code: str,
    suffix: str,
) -> None:
    hu = np.random.default_rng(seed).integers(-1024, 3072, old).astype(np.int16)
    path = _saved(hu, tmp_path_factory.mktemp("resized") / f"volume{suffix}", code)
    resized = read_resized(path, new)
    assert resized.hu.shape == new
    assert np.abs(resized.hu - _reference(hu, new)).max() < 0.51


@settings(max_examples=50, deadline=None)
@given(old=st.integers(2, 300), new=st.integers(1, 300))
def test_the_weights_are_torchs(old: int, new: int) -> None:
    unit = torch.eye(old, dtype=torch.float64)[None, None]
    theirs = F.interpolate(unit, (new, old), mode="bilinear", antialias=True)[0, 0].numpy()
    np.testing.assert_allclose(triangle_weights(old, new), theirs, atol=1e-9)


def test_a_constant_stays_and_metal_does_not_ring(tmp_path: Path) -> None:
    hu = np.full((12, 20, 20), 40, dtype=np.int16)
    hu[6, 10, 10] = 32000
    resized = read_resized(_saved(hu, tmp_path / "volume.nii.gz"), (5, 7, 9)).hu
    assert resized.min() == 40
    assert resized.max() <= 3071
    hu[:] = -777
    assert np.all(read_resized(_saved(hu, tmp_path / "flat.nii.gz"), (30, 7, 9)).hu == -777)


def test_noise_is_averaged_rather_than_sampled(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).normal(40, 100, (64, 64, 64)).astype(np.int16)
    resized = read_resized(_saved(hu, tmp_path / "noise.nii.gz"), (16, 16, 16)).hu
    # sampling one voxel in 64, or interpolating between two, leaves 100 or about 35; the triangle leaves (1 / 6)^(3/2)
    assert resized.std() == pytest.approx(100 * (1 / 6) ** 1.5, rel=0.15)


def test_spacing_and_field_of_view(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((10, 20, 40), dtype=np.int16))
    image.SetSpacing((0.5, 0.75, 2.0))
    sitk.WriteImage(sitk.DICOMOrient(image, "SAR"), str(tmp_path / "volume.nrrd"))
    volume = read_resized(tmp_path / "volume.nrrd", (5, 30, 16))
    assert volume.spacing == pytest.approx((4.0, 0.5, 1.25))
    assert volume.geometry.native_spacing == pytest.approx((2.0, 0.75, 0.5))
    assert volume.geometry.native_size == (10, 20, 40)
