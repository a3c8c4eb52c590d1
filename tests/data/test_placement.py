"""Places: from the file's voxels to the patient and to the model's grid, and back."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.reading.resample import place, read_on_grid

LENGTHS, MILLIMETRES = st.integers(4, 20), st.sampled_from([0.7, 1.0, 1.5, 2.0, 5.0])
ORIGIN = (-13.25, 21.5, -140.75)
CODES = ("LPS", "RAS", "LAS", "SRA", "AIL", "PSR")


def saved(hu: np.ndarray, spacing: tuple[float, ...], path: Path, code: str) -> sitk.Image:
    """Write canonical voxels (D, H, W) with their spacing and an origin, stored in another order of axes."""
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(ORIGIN)
    stored = sitk.DICOMOrient(image, code)
    sitk.WriteImage(stored, str(path), True)
    return stored


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    spacing=st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES),
    size=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    target=st.none() | st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES),
    code=st.sampled_from(CODES),
    suffix=st.sampled_from([".nii.gz", ".mha", ".nrrd"]),
    seed=st.integers(0, 99),
)
def test_places_agree_with_simpleitk_and_go_back(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    size: tuple[int, int, int],
    target: tuple[float, float, float] | None,
    code: str,
    suffix: str,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("places") / f"volume{suffix}"
    rng = np.random.default_rng(seed)
    stored = saved(rng.integers(-1000, 1000, shape), spacing, path, code)
    placed = place(path, ModelGrid(size, target))
    index = [int(rng.integers(length)) for length in stored.GetSize()]
    patient = np.array(stored.TransformIndexToPhysicalPoint(index))
    here = placed.from_patient(patient)
    assert placed.file_index(here) == tuple(index)
    assert placed.to_patient(here) == pytest.approx(patient, abs=1e-3)
    # SimpleITK's own canonical copy
    canonical = sitk.DICOMOrient(stored, "LPS").TransformPhysicalPointToContinuousIndex(patient.tolist())[::-1]
    assert here == pytest.approx(canonical, abs=1e-3)
    somewhere = rng.uniform(-5, 25, (7, 3))
    assert placed.to_source(placed.to_model(somewhere)) == pytest.approx(somewhere)
    model = placed.model_affine() @ [*placed.to_model(here), 1]
    assert model[:3] == pytest.approx(patient, abs=1e-3)
    if suffix == ".nii.gz":
        assert placed.nifti_affine() == pytest.approx(nibabel.load(path).affine, abs=1e-4)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "grid",
    [
        ModelGrid((30, 40, 36)),
        ModelGrid((12, 14, 16)),
        ModelGrid((12, 14, 15), (2.0, 2.0, 2.0)),
        ModelGrid((40, 44, 44), (1.5, 1.5, 1.5)),
        ModelGrid((18, 18, 18), (2.0, 2.0, 2.0), "body"),
    ],
    ids=str,
)
def test_a_bright_voxel_is_where_the_map_says(tmp_path: Path, code: str, grid: ModelGrid) -> None:
    hu = np.full((20, 28, 24), -1000)
    hu[2:18, 6:24, 3:15] = 0  # a body out of the middle
    spot = (9, 13, 7)
    hu[spot] = 3000
    path = tmp_path / "volume.nii.gz"
    saved(hu, (3.0, 1.5, 2.0), path, code)
    seen = read_on_grid(path, grid)
    where = seen.placement.to_model(np.array(spot))
    light = np.clip(seen.hu.astype(float), 0, None)
    brightest = np.argwhere(light == light.max()).mean(axis=0)
    assert np.abs(brightest - where).max() <= 0.51
    # the filter is symmetric: the mean of the light is the place itself, but for the sampling of a single voxel
    mean = [float((np.indices(light.shape)[axis] * light).sum() / light.sum()) for axis in range(3)]
    assert np.abs(mean - where).max() <= 0.25


def test_a_folder_of_dicom_slices_lies_where_its_headers_say(tmp_path: Path) -> None:
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(5):
        image = sitk.GetImageFromArray(np.full((1, 8, 10), number, dtype=np.int16))
        tags = {
            "0008|0060": "CT",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0052": "1.2.3.5",
            "0008|0018": f"1.2.3.4.{number + 1}",
            "0020|0032": f"-30.5\\-20.25\\{-100 + 2.5 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1053": "1",
            "0028|1052": "0",
            "0028|1054": "HU",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        image.SetSpacing((0.75, 0.5, 2.5))
        writer.SetFileName(str(tmp_path / f"{9 - number}.dcm"))
        writer.Execute(image)
    placed = place(tmp_path, ModelGrid((5, 8, 10)))
    assert placed.to_patient(np.array([0, 0, 0])) == pytest.approx([-30.5, -20.25, -100])
    assert placed.to_patient(np.array([4, 2, 6])) == pytest.approx([-26, -19.25, -90])


def test_an_origin_that_is_no_number_is_not_made_up(tmp_path: Path) -> None:
    path = tmp_path / "volume.mha"
    saved(np.zeros((4, 5, 6)), (1.0, 1.0, 1.0), path, "LPS")
    path.write_bytes(path.read_bytes().replace(b"Offset = -13.25 21.5 -140.75", b"Offset = -13.25 21.5 somewher"))
    assert np.isnan(place(path, ModelGrid((4, 5, 6))).to_patient(np.zeros(3))).all()
