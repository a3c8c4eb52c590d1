"""Reading made-up volumes: orientation, padding, intensities, and every reason to refuse."""

import gzip
import itertools
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bimcvr.data.reading.resample import read_resized
from bimcvr.data.reading.volume import RefusedVolume, read_volume

CODES = [
    "".join(letters) for axes in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*axes)
]
SPACING = (3.0, 2.0, 1.0)


def _canonical(size: tuple[int, int, int] = (6, 8, 10)) -> np.ndarray:
    """Return noise in soft tissue whose superior, anterior, right corner is marked."""
    hu = np.random.default_rng(0).integers(0, 80, size).astype(np.int16)
    hu[-2:, :2, :2] = 1000
    return hu


def _image(hu: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(SPACING[::-1])
    return image


def _write(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path), path.suffix != ".nii")
    return path


def _reason(path: Path) -> str:
    with pytest.raises(RefusedVolume) as refusal:
        read_volume(path)
    assert str(path) in str(refusal.value)
    assert str(refusal.value).endswith(".")
    return refusal.value.reason


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
@pytest.mark.parametrize("code", CODES)
def test_the_marked_corner_lies_right_in_every_orientation(code: str, suffix: str, tmp_path: Path) -> None:
    hu = _canonical()
    path = _write(sitk.DICOMOrient(_image(hu), code), tmp_path / f"volume{suffix}")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.spacing == pytest.approx(SPACING)
    assert volume.geometry.orientation == code
    resized = read_resized(path, (3, 4, 5))
    assert resized.hu[-1, 0, 0] > 500
    assert resized.hu.ravel()[resized.hu.ravel() != resized.hu[-1, 0, 0]].max() < 500
    assert resized.spacing == pytest.approx((6.0, 4.0, 2.0))


def test_an_oblique_volume_takes_the_nearest_axes_and_says_how_far_they_are(tmp_path: Path) -> None:
    hu = _canonical()
    image = _image(hu)
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    volume = read_volume(_write(sitk.DICOMOrient(image, "RAS"), tmp_path / "oblique.nrrd"))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.geometry.obliquity == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_format_and_type_gives_the_same_hu(suffix: str, kind: type, tmp_path: Path) -> None:
    hu = _canonical().astype(kind)
    volume = read_volume(_write(_image(hu), tmp_path / f"volume{suffix}"))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.hu.dtype == np.int16
    assert volume.hu.flags.c_contiguous


def test_padding_becomes_air_and_its_share_is_known_inside_and_outside_the_circle(tmp_path: Path) -> None:
    hu = _canonical((4, 20, 30))
    y, x = np.ogrid[:20, :30]
    circle = ((y + 0.5) / 10 - 1) ** 2 + ((x + 0.5) / 15 - 1) ** 2 <= 1
    hu[:, ~circle] = -2048
    hu[0, 10, 15] = -3024
    hu[0, 10, 16] = -1100
    for code in ("LPS", "SRA"):
        volume = read_volume(_write(sitk.DICOMOrient(_image(hu), code), tmp_path / f"{code}.nii.gz"))
        assert np.all(volume.hu[:, ~circle] == -1000)
        assert volume.hu[0, 10, 15] == -1000
        assert volume.hu[0, 10, 16] == -1024
        assert volume.geometry.padding_outside == 1
        assert volume.geometry.padding_inside == pytest.approx(1 / (4 * circle.sum()))


def test_padding_does_not_bleed_into_the_resized_volume(tmp_path: Path) -> None:
    hu = np.full((8, 8, 8), -1000, dtype=np.int16)
    hu[:, :3] = -32768
    resized = read_resized(_write(_image(hu), tmp_path / "padded.nii.gz"), (4, 4, 4))
    assert np.all(resized.hu == -1000)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_broken_voxels_become_air_and_are_counted(suffix: str, tmp_path: Path) -> None:
    hu = _canonical().astype(np.float32)
    hu[0, 0, 0], hu[1, 1, 1], hu[2, 2, 2] = np.nan, np.inf, 1e9
    volume = read_volume(_write(_image(hu), tmp_path / f"broken{suffix}"))
    assert volume.hu[0, 0, 0] == volume.hu[1, 1, 1] == -1000
    assert volume.hu[2, 2, 2] == 32767
    assert volume.geometry.not_finite == 2


def test_the_geometry_can_be_written_as_json(tmp_path: Path) -> None:
    volume = read_volume(_write(sitk.DICOMOrient(_image(_canonical()), "SRA"), tmp_path / "volume.mha"))
    record = json.loads(json.dumps(asdict(volume.geometry), allow_nan=False))
    assert record["native_size"] == [6, 8, 10]
    assert record["native_spacing"] == pytest.approx(SPACING)


def test_a_refusal_survives_the_way_from_a_worker() -> None:
    refusal = RefusedVolume("reason", Path("a/b.nii"), "is wrong.", "Mend it.")
    copy = pickle.loads(pickle.dumps(refusal))
    assert copy.reason == "reason"
    assert str(copy) == "a/b.nii is wrong. Mend it."


@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_a_file_cut_short_is_refused(suffix: str, kept: float, tmp_path: Path) -> None:
    path = _write(_image(_canonical((20, 40, 40))), tmp_path / f"volume{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert _reason(path) in (("truncated",) if ".nii" in suffix else ("truncated", "unreadable"))


def test_a_cut_that_happens_to_end_in_the_right_length_is_still_refused(tmp_path: Path) -> None:
    path = _write(_image(_canonical((20, 40, 40))), tmp_path / "volume.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[-4:])
    assert _reason(path) in ("truncated", "damaged")


def test_a_changed_byte_in_the_compressed_voxels_is_refused(tmp_path: Path) -> None:
    path = _write(_image(_canonical((30, 100, 100))), tmp_path / "volume.nii.gz")
    for place in (0.3, 0.6, 0.9):
        content = bytearray(path.read_bytes())
        content[int(len(content) * place)] ^= 0x10
        broken = tmp_path / f"{place}.nii.gz"
        broken.write_bytes(content)
        assert _reason(broken) == "damaged"


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    hu = _canonical((20, 40, 40))
    content = gzip.decompress(_write(_image(hu), tmp_path / "whole.nii.gz").read_bytes())
    path = tmp_path / "parts.nii.gz"
    path.write_bytes(gzip.compress(content[:9999]) + gzip.compress(content[9999:]))
    np.testing.assert_array_equal(read_volume(path).hu, hu)


def _edit_nifti(path: Path, offset: int, kind: str, *values: float) -> Path:
    """Overwrite header fields of an uncompressed or compressed NIfTI file."""
    opened: Callable[..., bytes] = gzip.decompress if path.suffix == ".gz" else bytes
    content = bytearray(opened(path.read_bytes()))
    struct.pack_into("<" + kind, content, offset, *values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_slope_and_intercept_are_heeded(suffix: str, tmp_path: Path) -> None:
    hu = _canonical()
    path = _edit_nifti(_write(_image(hu), tmp_path / f"scaled{suffix}"), 112, "2f", 0.3, -100)
    np.testing.assert_array_equal(read_volume(path).hu, np.rint(hu.astype(np.float32) * np.float32(0.3) - 100))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("offset", "kind", "values", "reason"),
    [
        (252, "2h", (0, 0), "no_orientation"),
        (254, "h13f", (2, *[0.0] * 13), "no_orientation"),
        (254, "h", (2,), "sheared_grid"),
        (80, "f", (0.0,), "no_spacing"),
        (88, "f", (float("nan"),), "no_spacing"),
        (0, "i", (99,), "unreadable"),
        (40, "4h", (3, 10, 8, 7), "truncated"),
        (40, "4h", (3, 30000, 30000, 30000), "too_large"),
        (108, "f", (float("nan"),), "unreadable"),
        (108, "f", (float("inf"),), "unreadable"),
        (108, "f", (-100.0,), "unreadable"),
        (108, "f", (0.0,), "unreadable"),
        (40, "4h", (3, -10, 8, 6), "unreadable"),
        (40, "4h", (3, -10, -8, 6), "unreadable"),
        (40, "4h", (3, 0, 8, 6), "unreadable"),
    ],
)
def test_a_nifti_header_that_misleads_is_refused(
    suffix: str, offset: int, kind: str, values: tuple[float, ...], reason: str, tmp_path: Path
) -> None:
    path = _write(_image(_canonical()), tmp_path / f"volume{suffix}")
    if reason == "sheared_grid":
        _edit_nifti(path, 280, "12f", 1, 0.4, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0)
    if len(values) > 2 and reason == "no_orientation":
        offset, kind, values = 280, "12f", (0.0,) * 12
        _edit_nifti(path, 254, "h", 2)
    assert _reason(_edit_nifti(path, offset, kind, *values)) == reason


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    hu = _canonical()
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    assert _reason(_write(colour, tmp_path / "colour.nii.gz")) == "colour"
    assert _reason(_write(_image(hu[:1]), tmp_path / "slice.nii.gz")) == "not_a_volume"
    assert _reason(_write(sitk.GetImageFromArray(hu[0]), tmp_path / "flat.nrrd")) == "not_a_volume"
    moving = sitk.JoinSeries([_image(hu), _image(hu)])
    assert _reason(_write(moving, tmp_path / "moving.nii.gz")) == "not_a_volume"
    still = read_volume(_write(sitk.JoinSeries([_image(hu)]), tmp_path / "still.nii.gz"))
    np.testing.assert_array_equal(still.hu, hu)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    assert _reason(tmp_path / "absent.nii.gz") == "missing_file"
    for name in ("empty.nii.gz", "empty.nrrd", "empty.dcm"):
        (tmp_path / name).touch()
        assert _reason(tmp_path / name) == "empty_file"
    for name in ("pointer.nii.gz", "pointer.mha", "pointer.dcm"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        assert _reason(tmp_path / name) == "git_lfs_pointer"
    for name in ("text.nii.gz", "text.nii", "text.mha", "text.nrrd"):
        (tmp_path / name).write_text("This is no image. " * 50)
        assert _reason(tmp_path / name) == "unreadable"
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert _reason(tmp_path / "image.png") == "unknown_format"
    (tmp_path / "bare").mkdir()
    assert _reason(tmp_path / "bare") == "no_dicom"
    header = _write(_image(_canonical()), tmp_path / "volume.mhd")
    header.with_suffix(".zraw").unlink()
    assert _reason(header) == "missing_file"
