"""Every CT of a folder of real public files: read right, or refused by the right reason."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from bimcvr.data.reading.dicom_series import is_dicom
from bimcvr.data.reading.file_checks import SUFFIXES
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.reading.volume import RefusedVolume, read_volume

REAL = Path(os.environ.get("BIMCVR_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder of real volumes"
)


@dataclass(frozen=True)
class Reads:
    """A volume that is read: canonical (D, H, W) voxels and mm; HU range, with no lowest if it was padded."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    lowest: int | None
    highest: int
    orientation: str = "LPS"
    obliquity: float = 0.0


CT64 = Reads((79, 64, 64), (3.987, 4.172, 4.172), -1007, 1095)
SYNTAXES = "cornerstone_transfer_syntaxes"
CTIMAGE = (
    "",
    "_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
    "_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
    "_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
    "_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm",
    "_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
    "_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm",
    "_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
    "_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm",
    "_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
    "_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm",
    "_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
    "_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
    "_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
    "_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm",
    "_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
)
MHD = "header_only_1.3.6.1.4.1.14519.5.2.1.6279.6001.102133688497886810253331438797.mhd"

# Written from the collection's own description of its traits, before the reader was run on it.
EXPECTED: dict[str, Reads | str] = {
    "totalsegmentator/aorta_report/ct_cropped.nii.gz": Reads((164, 126, 120), (1.5, 1.5, 1.5), -1024, 3343),
    "totalsegmentator/example_ct.nii.gz": Reads((112, 101, 122), (3, 3, 3), -1024, 3382, "RAS"),
    "totalsegmentator/example_ct_sm.nii.gz": Reads((30, 101, 122), (3, 3, 3), -1024, 1207, "RAS"),
    "totalsegmentator/example_ct_dicom_scrubbed": Reads((20, 512, 512), (2, 0.977, 0.977), -1024, 1839),
    "lidc_idri_small/LIDC-IDRI-0001": Reads((16, 512, 512), (2.5, 0.703, 0.703), None, 3071),
    "lidc_idri_small/LIDC-IDRI-0003": Reads((11, 512, 512), (2.5, 0.820, 0.820), None, 1978),
    "lidc_idri_small/negative": "git_lfs_pointer",
    "lidc_idri_small/negative/git_lfs_pointer.dcm": "git_lfs_pointer",
    f"lidc_idri_small/negative/{MHD}": "missing_file",
    "elastix_lung/3DCT_lung_baseline_small.mha": Reads((64, 78, 57), (5, 2.732, 2.732), -1024, 1379),
    "cip_chest/ct-64.nrrd": CT64,
    "cip_chest/ct-64Dicom": CT64,
    "cip_chest/ct-64-transformed.nrrd": Reads(CT64.size, CT64.spacing, -1007, 1095, obliquity=20.0),
    "cip_chest/TestInput.nrrd": Reads((50, 64, 64), (6.99, 5.281, 5.281), -1024, 3362),
    "cip_chest/crop_ct_2slices.nrrd": Reads((2, 349, 443), (0.5, 0.586, 0.586), -1009, 1221),
    "dcm_qa_ct/Philips_tilt": "gantry_tilt",
    "dicom2nifti_failing/gantrytilting/001": "gantry_tilt",
    "dicom2nifti_failing/notavolume/001": "duplicate_positions",
    # loose files of four scans: one slice sixteen times over, and single images that are left aside
    SYNTAXES: "duplicate_positions",
    **{f"{SYNTAXES}/CTImage.dcm{ending}": "not_a_volume" for ending in CTIMAGE},
    f"{SYNTAXES}/CT1_J2KR": "not_a_volume",
    f"{SYNTAXES}/CT2_J2KR": "not_a_volume",
    f"{SYNTAXES}/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": "no_rescale",
    "pydicom_small": "not_a_volume",
    "pydicom_small/eCT_Supplemental.dcm": "no_rescale",
    "pydicom_small/CT_small.dcm": "not_a_volume",
    # gaps of 1.25, 1.25 and 202.5 mm: the last is 162 times the first
    "pydicom_small/dicomdirtests/77654033/CT2": "missing_slices",
    # the description has one HU range for three folders (−981 … 1489); pydicom's reading confirms these
    "pydicom_small/dicomdirtests/98892001/CT5N": Reads((5, 16, 16), (2.5, 0.488, 0.488), -888, 85),
    "pydicom_small/dicomdirtests/98892001/CT2N": "localizer",
    "ibsi_sts/STS_005_CT_image.nii.gz": Reads((79, 199, 162), (3.27, 0.977, 0.977), -1000, 3071),
}
MASKS = {
    "totalsegmentator/aorta_report/aorta.nii.gz",
    "elastix_lung/3DCT_lung_baseline_mask.mha",
    "cip_chest/lm-64.nrrd",
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_ct_is_read_right_or_refused_by_its_reason(name: str) -> None:
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(RefusedVolume) as refusal:
            read_volume(REAL / name)
        assert refusal.value.reason == expected, str(refusal.value)
        assert str(REAL / name) in str(refusal.value)
        return
    volume = read_volume(REAL / name)
    assert volume.hu.dtype == np.int16
    assert volume.hu.shape == volume.geometry.native_size == expected.size
    assert volume.spacing == pytest.approx(expected.spacing, abs=6e-3)
    assert volume.geometry.orientation == expected.orientation
    assert volume.geometry.obliquity == pytest.approx(expected.obliquity, abs=0.1)
    assert volume.hu.max() == expected.highest
    if expected.lowest is None:
        assert -1024 <= volume.hu.min()
        assert volume.geometry.padding_inside + volume.geometry.padding_outside > 0
    else:
        assert volume.hu.min() == expected.lowest


def test_the_table_names_every_ct_in_the_folder() -> None:
    unnamed = []
    for file in sorted(path for path in REAL.rglob("*") if path.is_file()):
        name = file.relative_to(REAL).as_posix()
        folder = file.parent.relative_to(REAL).as_posix()
        volume = file.name.lower().endswith(SUFFIXES) and name not in MASKS
        slice_ = file.suffix == ".dcm" or is_dicom(file)
        # the slices of a series stand for themselves only where their folder is none
        loose = folder in (SYNTAXES, "pydicom_small", "lidc_idri_small/negative")
        if (volume or (slice_ and loose)) and name not in EXPECTED:
            unnamed.append(name)
        if slice_ and folder not in EXPECTED:
            unnamed.append(folder)
    assert not unnamed


def test_a_series_and_its_nrrd_hold_the_same_voxels() -> None:
    series = read_volume(REAL / "cip_chest/ct-64Dicom")
    np.testing.assert_array_equal(series.hu, read_volume(REAL / "cip_chest/ct-64.nrrd").hu)
    assert 0 < series.geometry.jitter < 0.01


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".nii.gz")])
def test_nifti_agrees_with_nibabel(name: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.as_closest_canonical(nibabel.load(REAL / name))
    # nibabel's canonical axes run to right, anterior and superior
    theirs = np.asarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(read_volume(REAL / name).hu, np.rint(np.clip(theirs, -1024, 32767)))


@pytest.mark.parametrize(
    "name",
    [
        "lidc_idri_small/LIDC-IDRI-0001",
        "lidc_idri_small/LIDC-IDRI-0003",
        "cip_chest/ct-64Dicom",
        "pydicom_small/dicomdirtests/98892001/CT5N",
    ],
)
def test_dicom_agrees_with_pydicom(name: str) -> None:
    slices = sorted(
        (pydicom.dcmread(path) for path in (REAL / name).iterdir() if is_dicom(path)),
        key=lambda header: float(header.ImagePositionPatient[2]),
    )
    stored = np.stack([header.pixel_array for header in slices]).astype(np.int64)
    theirs = stored * int(slices[0].RescaleSlope) + int(slices[0].RescaleIntercept)
    padded = theirs < -1500
    volume = read_volume(REAL / name)
    np.testing.assert_array_equal(volume.hu, np.where(padded, -1000, np.maximum(theirs, -1024)))
    y, x = np.ogrid[: theirs.shape[1], : theirs.shape[2]]
    half = np.array(theirs.shape[1:]) / 2
    ellipse = ((y + 0.5) / half[0] - 1) ** 2 + ((x + 0.5) / half[1] - 1) ** 2 <= 1
    circle = np.broadcast_to(ellipse, theirs.shape)
    assert volume.geometry.padding_inside == pytest.approx(padded[circle].mean(), abs=1e-4)
    assert volume.geometry.padding_outside == pytest.approx(padded[~circle].mean(), abs=1e-4)


def _two_slices(source: Path, folder: Path) -> Path:
    """Make a series of one file and itself, one slice further: single slices are no volume."""
    folder.mkdir()
    shutil.copy(source, folder / "first.dcm")
    header = pydicom.dcmread(source)
    position = [float(mm) for mm in header.ImagePositionPatient]
    header.ImagePositionPatient = [*position[:2], position[2] + 6.5]
    header.save_as(folder / "second.dcm")
    return folder


@pytest.mark.parametrize("ending", CTIMAGE)
def test_every_transfer_syntax_gives_the_same_hu(ending: str, tmp_path: Path) -> None:
    plain = read_volume(_two_slices(REAL / SYNTAXES / "CTImage.dcm", tmp_path / "plain"))
    encoded = read_volume(_two_slices(REAL / SYNTAXES / f"CTImage.dcm{ending}", tmp_path / "encoded"))
    assert encoded.spacing == pytest.approx((6.5, 0.676, 0.676), abs=1e-3)
    np.testing.assert_array_equal(encoded.hu[0], encoded.hu[1])
    difference = np.abs(encoded.hu.astype(int) - plain.hu)
    # 12 or 8 bits with a slope of 2 or 32 HU are lossy, and so are JPEG 2000 (.91) and JPEG-LS (.81)
    lossy = any(code in ending for code in (".50.", ".51.", ".53.", ".55.", ".81.", ".91."))
    body = plain.hu > -900
    assert np.median(difference[body]) <= (32 if lossy else 0)
    assert lossy or not difference.any()


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if isinstance(expected, Reads)])
def test_resizing_keeps_the_field_of_view_and_the_mean(name: str) -> None:
    volume = read_volume(REAL / name)
    resized = read_resized(REAL / name, (24, 32, 40))
    assert resized.hu.shape == (24, 32, 40)
    assert resized.geometry == volume.geometry
    extent = np.multiply(volume.spacing, volume.hu.shape)
    assert np.multiply(resized.spacing, resized.hu.shape) == pytest.approx(extent)
    assert resized.hu.mean() == pytest.approx(np.minimum(volume.hu, 3071).mean(), abs=15)
