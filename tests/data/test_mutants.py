"""Mutated files: the voxels are those that an independent reader finds, or the volume is refused by name.

Bit flips, cuts, insertions, zeros and swaps in header and voxels of sound files. A refusal is always right; a volume
that is read must have the voxels and the spacing that nibabel, pynrrd, pydicom or zlib read, and no error other than
`RefusedVolume` may escape.
"""

import gzip
import locale
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from bimcvr.data.hu.geometry import axes_of
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.data.reading.volume import read_volume

SHAPE = (7, 10, 12)
SPACING = (2.5, 0.8, 0.7)
Read = tuple[np.ndarray, tuple[float, ...]]


def clean(raw: np.ndarray) -> np.ndarray:
    """HU as the reader promises them: padding and what is not finite is air, undershoot is clipped."""
    hu = np.where(np.isfinite(raw), raw, -1000.0).astype(np.float32)
    return np.rint(np.clip(np.where(hu < -1500, -1000, hu), -1024, 32767)).astype(np.int16)


def image() -> sitk.Image:
    voxels = np.random.default_rng(5).integers(-1000, 1200, SHAPE).astype(np.int16)
    made = sitk.GetImageFromArray(voxels)
    made.SetSpacing(SPACING[::-1])
    made.SetOrigin((-10.0, 20.0, 30.0))
    return made


def canonical(voxels: np.ndarray, spacing: tuple[float, ...], direction: np.ndarray) -> Read:
    """Voxels (z, y, x) and mm along the same axes, on canonical axes."""
    axes = axes_of(direction)
    return clean(axes.canonical(voxels)), tuple(spacing[axis] for axis in axes.order)


def by_nibabel(path: Path) -> Read:
    loaded = nibabel.load(path)
    if not loaded.header["sform_code"] and not loaded.header["qform_code"]:
        raise ValueError("no orientation")
    affine = loaded.affine[:3, :3]
    spacing = np.linalg.norm(affine, axis=0)
    voxels = np.asarray(loaded.get_fdata()).reshape(loaded.shape[:3])
    direction = np.diag([-1, -1, 1]) @ (affine / spacing)
    return canonical(voxels.transpose(2, 1, 0), tuple(spacing[::-1]), direction)


def by_pynrrd(path: Path) -> Read:
    voxels, header = nrrd.read(str(path))
    vectors = np.asarray(header["space directions"], dtype=float)
    spacing = np.linalg.norm(vectors, axis=1)
    signs = {"left-posterior-superior": (1, 1, 1), "right-anterior-superior": (-1, -1, 1)}[header["space"]]
    direction = np.diag(signs) @ (vectors / spacing[:, None]).T
    return canonical(voxels.transpose(2, 1, 0), tuple(spacing[::-1]), direction)


def by_zlib(path: Path) -> Read:
    content = path.read_bytes()
    end = content.index(b"\n", content.index(b"\nElementDataFile = LOCAL") + 1) + 1
    fields = dict(re.findall(r"^(\w+) *[=:] *(.*)$", content[:end].decode("latin-1"), re.MULTILINE))
    size = [int(word) for word in fields["DimSize"].split()]
    body = zlib.decompress(content[end:]) if fields.get("CompressedData") == "True" else content[end:]
    dtype = {"MET_SHORT": "<i2", "MET_USHORT": "<u2"}[fields["ElementType"]]
    voxels = np.frombuffer(body, dtype).reshape(size[::-1])
    spacing = tuple(float(word) for word in fields["ElementSpacing"].split())
    direction = np.array([float(word) for word in fields["TransformMatrix"].split()]).reshape(3, 3).T
    return canonical(voxels, spacing[::-1], direction)


def by_pydicom(folder: Path) -> Read:
    slices = [pydicom.dcmread(path, force=True) for path in sorted(folder.iterdir())]
    normal = np.cross(slices[0].ImageOrientationPatient[:3], slices[0].ImageOrientationPatient[3:])
    slices.sort(key=lambda one: float(np.dot(one.ImagePositionPatient, normal)))
    hu = np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in slices])
    gap = float(np.dot(np.subtract(slices[1].ImagePositionPatient, slices[0].ImagePositionPatient), normal))
    row, column = np.reshape(slices[0].ImageOrientationPatient, (2, 3))
    down, across = slices[0].PixelSpacing
    return canonical(hu, (gap, float(down), float(across)), np.stack([row, column, normal], axis=1))


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Spoil a file in one of eight ways, half of the time within its first 512 bytes."""
    data = bytearray(content)
    reach = min(len(data), 512) if rng.random() < 0.5 else len(data)
    place, length = int(rng.integers(reach)), int(2 ** rng.integers(0, 9))
    other = int(rng.integers(len(data)))
    match int(rng.integers(8)):
        case 0 | 1:
            for _ in range(int(rng.integers(1, 9))):
                data[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
        case 2:
            del data[place:]
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = rng.bytes(length)
        case 5:
            data[place : place + length] = bytes(len(data[place : place + length]))
        case 6:
            data[place : place + length], data[other : other + length] = (
                data[other : other + length],
                data[place : place + length],
            )
        case 7:
            data += rng.bytes(length)
    return bytes(data)


def check(path: Path, independent: Callable[[Path], Read]) -> bool:
    """Whether a mutant was read; what is read is compared."""
    try:
        volume = read_volume(path)
    except RefusedVolume:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        voxels, spacing = independent(path)
    np.testing.assert_array_equal(volume.hu, voxels)
    np.testing.assert_allclose(volume.spacing, spacing, rtol=0.011)
    return True


FORMATS = {
    "nii": ("v.nii", False, by_nibabel), "nii.gz": ("v.nii.gz", True, by_nibabel),
    "nrrd": ("v.nrrd", True, by_pynrrd), "raw nrrd": ("v.nrrd", False, by_pynrrd),
    "mha": ("v.mha", True, by_zlib), "raw mha": ("v.mha", False, by_zlib),
}  # fmt: skip
COUNTS = [40, pytest.param(400, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", FORMATS)
def test_mutants_of_a_file(kind: str, count: int, tmp_path: Path) -> None:
    name, compressed, independent = FORMATS[kind]
    path = tmp_path / name
    sitk.WriteImage(image(), str(path), compressed)
    content = path.read_bytes()
    assert check(path, independent)
    rng = np.random.default_rng(count)
    for number in range(count):
        path.write_bytes(mutate(content, rng))
        try:
            check(path, independent)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {type(error).__name__}: {error}") from error


def test_mutants_inside_a_gzip_stream(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    sitk.WriteImage(image(), str(path))
    content = gzip.decompress(path.read_bytes())
    rng = np.random.default_rng(1)
    for number in range(200):
        path.write_bytes(gzip.compress(mutate(content, rng), 1))
        try:
            check(path, by_nibabel)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {type(error).__name__}: {error}") from error


@pytest.fixture
def series(tmp_path: Path) -> dict[str, bytes]:
    """The files of a DICOM series, signed, explicit little endian."""
    before = locale.setlocale(locale.LC_CTYPE)
    template = tmp_path / "template"
    template.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    made = image()
    contents = {}
    for number in range(SHAPE[0]):
        one = made[:, :, number]
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0008|0018": f"1.2.3.{number}", "0008|0060": "CT",
            "0010|0020": "p1", "0020|000d": "1.2.3", "0020|000e": "1.2.3.4", "0020|0052": "1.2.3.5",
            "0020|0013": str(number), "0028|1052": "-1024", "0028|1053": "1", "0028|1054": "HU",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0032": f"-10\\20\\{30 + SPACING[0] * number}",
        }  # fmt: skip
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        path = template / f"{number:03d}.dcm"
        writer.SetFileName(str(path))
        writer.Execute(one)
        contents[path.name] = path.read_bytes()
    # writing rescaled DICOM leaves the process in the locale C, in which later tests cannot read UTF-8
    locale.setlocale(locale.LC_CTYPE, before)
    return contents


@pytest.mark.parametrize("count", COUNTS)
def test_mutants_of_a_dicom_series(series: dict[str, bytes], count: int, tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    rng = np.random.default_rng(count)
    for number in range(-1, count):
        for name, content in series.items():
            (folder / name).write_bytes(content)
        if number >= 0:
            name = f"{int(rng.integers(len(series))):03d}.dcm"
            (folder / name).write_bytes(mutate(series[name], rng))
        try:
            was_read = check(folder, by_pydicom)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {type(error).__name__}: {error}") from error
        assert was_read or number >= 0, "the sound series"
