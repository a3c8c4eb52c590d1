"""DICOM folders: slices in order of position, and every reason to refuse."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from bimcvr.data.reading.volume import RefusedVolume, read_volume
from helpers.cli import environment

Edit = Callable[[Dataset, int], None]
HU = np.random.default_rng(0).integers(-1000, 1000, (6, 12, 16)).astype(np.int16)


def _slice(index: int, series: str) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SeriesInstanceUID = series
    header.StudyInstanceUID = header.FrameOfReferenceUID = "1.2.3"
    header.Modality, header.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.PhotometricInterpretation, header.SamplesPerPixel = "MONOCHROME2", 1
    header.Rows, header.Columns = HU.shape[1:]
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 1
    header.PixelSpacing, header.SliceThickness = [0.8, 0.7], 5
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.ImagePositionPatient = [-10, -20, -100 + 2.5 * index]
    header.RescaleSlope, header.RescaleIntercept = 1, -24
    header.PixelData = (HU[index] + 24).tobytes()
    return header


def _series(folder: Path, edit: Edit = lambda header, index: None, count: int = 6, series: str = "1.2.3.4") -> Path:
    """Write a series whose file names run against its positions."""
    folder.mkdir(exist_ok=True)
    for index in range(count):
        header = _slice(index, series)
        edit(header, index)
        header.save_as(folder / f"{series}-{9 - index}.dcm", enforce_file_format=True)
    return folder


def _move(*heights: float) -> Edit:
    def edit(header: Dataset, index: int) -> None:
        header.ImagePositionPatient = [-10, -20, heights[index]]

    return edit


def _set(**values: object) -> Edit:
    def edit(header: Dataset, index: int) -> None:
        for name, value in values.items():
            setattr(header, name, value)

    return edit


def _drop(name: str) -> Edit:
    def edit(header: Dataset, index: int) -> None:
        if index == 3:
            delattr(header, name)

    return edit


def _lean(header: Dataset, index: int) -> None:
    header.ImagePositionPatient = [-10, -20 + 0.7 * index, 2.5 * index]


def _shift(header: Dataset, index: int) -> None:
    header.ImagePositionPatient = [-10 + 4 * (index == 2), -20, 2.5 * index]


def _turn_one(header: Dataset, index: int) -> None:
    if index == 2:
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def _frames(header: Dataset, index: int) -> None:
    header.NumberOfFrames = 2
    header.PixelData *= 2


def _colour(header: Dataset, index: int) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation = 7, 0
    header.PixelData = bytes(HU[0].size * 3)


def _raw(tag: str, value: str, only: int | None = None) -> Edit:
    """Put text into an element of numbers as it is, as a broken exporter does."""

    def edit(header: Dataset, index: int) -> None:
        if only in (None, index):
            number = pydicom.datadict.tag_for_keyword(tag)
            assert number is not None
            content = value.encode() + b" " * (len(value) % 2)
            header._dict[header[tag].tag] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(number), "DS", len(content), content, 0, False, True
            )

    return edit


def _shorter(header: Dataset, index: int) -> None:
    if index == 3:
        header.PixelData = header.PixelData[:-32]


def _reason(path: Path) -> str:
    with pytest.raises(RefusedVolume) as refusal:
        read_volume(path)
    assert str(path) in str(refusal.value)
    return refusal.value.reason


def test_slices_are_ordered_by_position(tmp_path: Path) -> None:
    volume = read_volume(_series(tmp_path / "series"))
    np.testing.assert_array_equal(volume.hu, HU)
    assert volume.spacing == pytest.approx((2.5, 0.8, 0.7))
    assert volume.geometry.notes == ()


def test_a_sagittal_series_is_brought_to_canonical_axes(tmp_path: Path) -> None:
    def sagittal(header: Dataset, index: int) -> None:
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        header.ImagePositionPatient = [2.5 * index, 0, 0]

    volume = read_volume(_series(tmp_path / "series", sagittal))
    # columns run to posterior, rows to inferior, slices to left
    np.testing.assert_array_equal(volume.hu, HU.transpose(1, 2, 0)[::-1])
    assert volume.spacing == pytest.approx((0.8, 0.7, 2.5))


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    def scale(header: Dataset, index: int) -> None:
        header.RescaleSlope = 1 if index == 0 else 0.5

    expected = HU.astype(float)
    expected[1:] = np.rint((HU[1:] + 24) * 0.5 - 24)
    np.testing.assert_array_equal(read_volume(_series(tmp_path / "series", scale)).hu, expected)


def test_declared_padding_becomes_air(tmp_path: Path) -> None:
    def pad(header: Dataset, index: int) -> None:
        header.PixelPaddingValue = -1400 + 24
        pixels = (HU[index] + 24).copy()
        pixels[0, :4] = -1400 + 24
        header.PixelData = pixels.tobytes()

    volume = read_volume(_series(tmp_path / "series", pad))
    assert np.all(volume.hu[:, 0, :4] == -1000)
    np.testing.assert_array_equal(volume.hu[:, 1:], HU[:, 1:])
    assert volume.geometry.padding_outside > 0 == volume.geometry.padding_inside


def test_a_padding_value_that_is_also_tissue_is_not_heeded(tmp_path: Path) -> None:
    volume = read_volume(_series(tmp_path / "series", _set(PixelPaddingValue=24)))
    np.testing.assert_array_equal(volume.hu, HU)


def test_rounded_positions_are_harmless(tmp_path: Path) -> None:
    volume = read_volume(_series(tmp_path / "series", _move(0, 0.62, 1.25, 1.88, 2.5, 3.12)))
    assert volume.spacing[0] == pytest.approx(0.624)
    assert 0 < volume.geometry.jitter < 0.01


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_move(0, 2.5, 5, 8, 10.5, 13), "variable_gaps"),
        (_move(0, 2.5, 5, 10, 12.5, 15), "missing_slices"),
        (_move(0, 2.5, 2.5, 5, 7.5, 10), "duplicate_positions"),
        (_move(0, 0, 0, 0, 0, 0), "duplicate_positions"),
        (_lean, "gantry_tilt"),
        (_shift, "shifted_slices"),
        (_turn_one, "mixed_geometry"),
        (_colour, "colour"),
        (_frames, "multi_frame"),
        (_drop("RescaleSlope"), "no_rescale"),
        (_drop("RescaleIntercept"), "no_rescale"),
        (_set(RescaleType="US"), "no_rescale"),
        (_drop("ImagePositionPatient"), "no_position"),
        (_set(PixelSpacing=[0, 0]), "no_position"),
        (_set(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
        (_set(PhotometricInterpretation="MONOCHROME1"), "monochrome1"),
        (_set(Modality="MR"), "not_ct"),
        (_set(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]), "no_orientation"),
        (_set(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "no_orientation"),
        (_set(ImageOrientationPatient=[2, 0, 0, 0, 2, 0]), "no_orientation"),
        (_raw("ImageOrientationPatient", "nan\\0\\0\\0\\1\\0"), "no_orientation"),
        (_set(ImageOrientationPatient=[1, 0, 0, 0, 1]), "no_position"),
        (_raw("ImageOrientationPatient", "1\\0\\0\\0\\1", only=3), "no_position"),
        (_set(PixelSpacing=0.8), "no_position"),
        (_raw("PixelSpacing", "inf\\inf"), "no_position"),
        (_raw("PixelSpacing", "0,7\\0,7"), "unreadable"),
        (_raw("RescaleSlope", "1,0", only=3), "unreadable"),
        (_raw("ImagePositionPatient", "a\\b\\c"), "unreadable"),
        (_set(ImagePositionPatient=[0, 1]), "no_position"),
        (_shorter, "truncated"),
        (_drop("PixelData"), "truncated"),
    ],
)
def test_a_series_that_is_no_regular_volume_in_hu_is_refused(edit: Edit, reason: str, tmp_path: Path) -> None:
    assert _reason(_series(tmp_path / "series", edit)) == reason


def test_an_odd_length_of_pixels_may_be_padded(tmp_path: Path) -> None:
    def narrow(header: Dataset, index: int) -> None:
        header.Rows, header.Columns, header.BitsAllocated, header.BitsStored, header.HighBit = 5, 5, 8, 8, 7
        header.PixelRepresentation, header.PixelData = 0, bytes(range(25)) + b"\0"

    np.testing.assert_array_equal(
        read_volume(_series(tmp_path / "series", narrow)).hu.reshape(6, 25), [[*range(-24, 1)]] * 6
    )


def test_values_of_a_header_are_never_printed(tmp_path: Path) -> None:
    """In a process of its own: pytest keeps warnings to itself."""
    folder = _series(tmp_path / "series")
    for file in folder.iterdir():
        # of the same length as the series' number
        file.write_bytes(file.read_bytes().replace(b"1.2.3.4\0", b"1.SMITHJ"))
    script = (
        "from bimcvr.data.reading.volume import read_volume; from pathlib import Path;"
        f" print(read_volume(Path({str(folder)!r})).hu.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout == "(6, 12, 16)\n"
    assert "SMITH" not in done.stderr
    (folder / "1.2.3.4-9.dcm").write_bytes((folder / "1.2.3.4-9.dcm").read_bytes().replace(b"0.8\\0.7 ", b"SMITHY\\7"))
    with pytest.raises(RefusedVolume) as refusal:
        read_volume(folder)
    assert refusal.value.reason == "unreadable"
    assert "SMITH" not in str(refusal.value)
    assert "PixelSpacing" in str(refusal.value)


def test_a_corrected_tilt_is_read_whatever_the_tag_says(tmp_path: Path) -> None:
    volume = read_volume(_series(tmp_path / "series", _set(GantryDetectorTilt=18.5)))
    np.testing.assert_array_equal(volume.hu, HU)


def test_localisers_and_other_objects_beside_the_series_are_left_aside(tmp_path: Path) -> None:
    folder = _series(tmp_path / "series")
    _series(folder, _set(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), count=2, series="1.2.3.5")
    _series(folder, _colour, count=1, series="1.2.3.6")
    (folder / "report.xml").write_text("<report/>")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.hu, HU)
    assert len(volume.geometry.notes) == 2
    assert "2 localiser" in volume.geometry.notes[0]


def test_several_series_are_refused_by_name(tmp_path: Path) -> None:
    folder = _series(tmp_path / "series")
    _series(folder, series="1.2.3.5")
    with pytest.raises(RefusedVolume, match=r"1\.2\.3\.4.*1\.2\.3\.5") as refusal:
        read_volume(folder)
    assert refusal.value.reason == "several_series"


def test_single_files_are_refused(tmp_path: Path) -> None:
    folder = _series(tmp_path / "series", count=1)
    assert _reason(folder) == "not_a_volume"
    assert _reason(next(folder.iterdir())) == "not_a_volume"
    bare = next(folder.iterdir()).rename(tmp_path / "bare")
    assert _reason(bare) == "not_a_volume"


def test_a_slice_that_is_not_there_or_cut_short_is_refused(tmp_path: Path) -> None:
    folder = _series(tmp_path / "series")
    victim = sorted(folder.iterdir())[2]
    whole = victim.read_bytes()
    for content, reason in (
        (b"", "empty_file"),
        (b"version https://git-lfs.github.com", "git_lfs_pointer"),
        (whole[:100], "unreadable"),
        (whole[:-200], "truncated"),
    ):
        victim.write_bytes(content)
        with pytest.raises(RefusedVolume) as refusal:
            read_volume(folder)
        assert refusal.value.reason == reason


def test_empty_identifiers_are_read(tmp_path: Path) -> None:
    folder = _series(tmp_path / "series", _set(SeriesInstanceUID="", StudyInstanceUID=""))
    assert pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID == ""
    np.testing.assert_array_equal(read_volume(folder).hu, HU)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_set(RescaleSlope="nan"), "unreadable"),
        (_set(RescaleIntercept="inf"), "unreadable"),
        (_set(RescaleIntercept=[-24, 0]), "unreadable"),
        (_set(PixelSpacing=["0_8", "0.7"]), "unreadable"),
        (_set(PixelPaddingValue=[-2000, -1000]), "pixel_format"),
        (_set(ModalityLUTSequence=[Dataset()]), "no_rescale"),
    ],
)
def test_numbers_that_are_none(edit: Edit, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedVolume) as refused:
        read_volume(_series(tmp_path / "d", edit))
    assert refused.value.reason == reason


def test_codes_in_small_letters(tmp_path: Path) -> None:
    folder = _series(tmp_path / "d", _set(Modality="ct", PhotometricInterpretation="monochrome2"))
    np.testing.assert_array_equal(read_volume(folder).hu, HU)


@pytest.mark.parametrize("name", ["1.2.3.4-10", "1.2.3.4-10.bak", "1.2.3.4-10.zip", "1.2.3.4-10.dcm~"])
def test_what_is_named_like_a_slice_but_for_its_suffix(name: str, tmp_path: Path) -> None:
    folder = _series(tmp_path / "d")
    (folder / name).write_bytes(bytes(300))
    with pytest.raises(RefusedVolume, match="named like its slices"):
        read_volume(folder)


def test_a_series_of_which_a_part_lies_in_a_sub_folder(tmp_path: Path) -> None:
    folder = _series(tmp_path / "d")
    (folder / "more").mkdir()
    for number in (4, 5):
        (folder / f"1.2.3.4-{number}.dcm").rename(folder / "more" / f"{number}.dcm")
    with pytest.raises(RefusedVolume, match="sub-folder 'more'"):
        read_volume(folder)


def test_a_slice_of_another_size_is_no_missing_one(tmp_path: Path) -> None:
    def edit(header: Dataset, index: int) -> None:
        if index == 3:
            header.Rows, header.Columns = 16, 12

    with pytest.raises(RefusedVolume, match=r"another size or id .*-6\.dcm") as refused:
        read_volume(_series(tmp_path / "d", edit))
    assert refused.value.reason == "unread_slices"
