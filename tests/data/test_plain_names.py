"""Volumes whose names are in no encoding: read through links, named by escaped names."""

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.plain_names import escaped, has_plain_names, is_plain, link_plainly, plainly_named
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.data.reading.volume import read_volume

VOXELS = np.random.default_rng(0).integers(-1000, 400, (4, 5, 6)).astype(np.int16)


def raw_path(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


def write(path: Path) -> Path:
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing((0.7, 0.7, 2.5))
    sitk.WriteImage(image, str(path))
    return path


def test_names_are_escaped_byte_by_byte() -> None:
    bad = os.fsdecode(b"t\xf3rax/ni\xc3\xb1o")
    assert (escaped(bad), escaped("niño"), escaped("\ud800")) == ("t\\xf3rax/niño", "niño", "\\ud800")
    assert (is_plain(bad), is_plain("niño")) == (False, True)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd"])
@pytest.mark.parametrize(("folder", "stem"), [(b"t\xf3rax", b"a"), (b"plain", b"ni\xf1o"), (b"plain", b"a")])
def test_files(tmp_path: Path, suffix: str, folder: bytes, stem: bytes) -> None:
    (tmp_path / "made").mkdir()
    write(tmp_path / "made" / f"a{suffix}")
    parent = raw_path(tmp_path, folder)
    (tmp_path / "made").rename(parent)
    volume = raw_path(parent, stem + suffix.encode())
    (parent / f"a{suffix}").rename(volume)
    with plainly_named(volume) as readable:
        assert is_plain(readable)
        assert (read_volume(readable).hu.size, readable.is_symlink()) == (VOXELS.size, not has_plain_names(volume))
    assert volume.is_file()


def write_slices(folder: Path) -> Path:
    """Three slices of a CT, with as few tags as a volume needs."""
    folder.mkdir()
    for index in range(3):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, f"1.2.3.{index + 1}"
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.SeriesInstanceUID, header.Modality, header.PatientID = "1.2.3", "CT", "P"
        header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, 2.5 * index], [1, 0, 0, 0, 1, 0]
        header.PixelSpacing, header.SliceThickness = [0.7, 0.7], 2.5
        header.RescaleSlope, header.RescaleIntercept = 1, -1024
        header.Rows, header.Columns = VOXELS.shape[1:]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
        header.PixelData = VOXELS[index].tobytes()
        header.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def test_slices(tmp_path: Path) -> None:
    dicom_folder = write_slices(tmp_path / "series")
    first = min(dicom_folder.iterdir())
    expected = read_volume(dicom_folder).hu
    assert expected[0, 0, 0] == VOXELS[0, 0, 0] - 1024
    first.rename(raw_path(dicom_folder, b"se\xf1al.dcm"))
    assert not has_plain_names(dicom_folder)
    cache = VolumeCache(tmp_path / "cache", ModelGrid(expected.shape))  # type: ignore[arg-type]
    entry = cache.entry(dicom_folder)
    cache.put(dicom_folder, entry)
    assert (cache.read(entry).hu == expected).all()
    linked = link_plainly(dicom_folder, tmp_path / "links")
    assert link_plainly(dicom_folder, tmp_path / "links") == linked
    assert has_plain_names(linked)
    assert (read_volume(linked).hu == expected).all()


def test_a_refusal_names_the_volume_not_the_link(tmp_path: Path) -> None:
    volume = raw_path(tmp_path, b"ni\xf1o.nii.gz")
    volume.write_bytes(b"")
    with (
        pytest.raises(RefusedVolume, match=r"ni\\xf1o\.nii\.gz is empty") as refused,
        plainly_named(volume) as readable,
    ):
        read_volume(readable)
    assert "bimcvr-" not in str(refused.value)
