"""What a header states and what it contradicts, format by format: read as stated, or refused by the true reason."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from bimcvr.data.reading.volume import RefusedVolume, read_volume

HU = np.arange(2 * 3 * 4, dtype="<i2").reshape(2, 3, 4) - 900
MHA = {
    "ObjectType": "Image", "NDims": "3", "DimSize": "4 3 2", "ElementSpacing": "0.7 0.8 2.5",
    "ElementType": "MET_SHORT",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "BinaryData": "True",
}  # fmt: skip
NRRD = {
    "type": "short", "dimension": "3", "sizes": "4 3 2", "space": "left-posterior-superior", "endian": "little",
    "encoding": "raw", "space directions": "(0.7,0,0) (0,0.8,0) (0,0,2.5)", "space origin": "(0,0,0)",
}  # fmt: skip


def _mha(folder: Path, last: str = "LOCAL", data: bytes = HU.tobytes(), **fields: str) -> Path:
    (folder / "v.mha").write_bytes(
        "".join(f"{name} = {value}\n" for name, value in (MHA | fields | {"ElementDataFile": last}).items()).encode()
        + data
    )
    return folder / "v.mha"


def _nrrd(folder: Path, **fields: str) -> Path:
    named = NRRD | {name.replace("_", " "): value for name, value in fields.items()}
    (folder / "v.nrrd").write_bytes(
        ("NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in named.items()) + "\n").encode() + HU.tobytes()
    )
    return folder / "v.nrrd"


def _nifti(units: int) -> bytes:
    header = bytearray(352)
    for kind, offset, values in (
        ("<i", 0, (348,)), ("<8h", 40, (3, 4, 3, 2, 1, 1, 1, 1)), ("<2h", 70, (4, 16)), ("<8f", 76, (1, 1, 1, 1) * 2),
        ("<f", 108, (352,)), ("B", 123, (units,)), ("<2h", 252, (1, 0)), ("4s", 344, (b"n+1\0",)),
    ):  # fmt: skip
        struct.pack_into(kind, header, offset, *values)
    return bytes(header) + HU.tobytes()


def _reason(path: Path) -> str:
    with pytest.raises(RefusedVolume) as refused:
        read_volume(path)
    return refused.value.reason


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("ElementSpacing", "0_7 0.8 2.5", "unreadable"),
        ("ElementSpacing", "nan 0.8 2.5", "no_spacing"),
        ("TransformMatrix", "2 0 0 0 2 0 0 0 2", "no_orientation"),
        ("TransformMatrix", "0 0 0 0 0 0 0 0 0", "no_orientation"),
        ("Modality", "MET_MOD_MR", "not_ct"),
    ],
)
def test_a_metaimage(field: str, value: str, reason: str, tmp_path: Path) -> None:
    assert _reason(_mha(tmp_path, **{field: value})) == reason
    assert read_volume(_mha(tmp_path, Modality="MET_MOD_CT")).spacing == (2.5, 0.8, 0.7)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"version https://git-lfs.github.com/spec/v1\n", "git_lfs_pointer"), (b"", "empty_file")],
)
def test_data_files_are_looked_at(raw: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "v.raw").write_bytes(raw)
    assert _reason(_mha(tmp_path, "v.raw", b"")) == reason


def test_a_slice_that_is_listed_twice(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(HU[0].tobytes())
    assert _reason(_mha(tmp_path, "LIST", b"a.raw\na.raw\n")) == "unreadable"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"space_directions": "(0_7,0,0) (0,0.8,0) (0,0,2.5)"}, "unreadable"),
        ({"space_directions": "(0.7,0,0) (0,0.8,0) (0,0,2.5) (0,0,1)"}, "unreadable"),
        ({"spacings": "0.7 0.8 5"}, "contradictory_header"),
        ({"units": '"cm" "cm" "cm"'}, "no_spacing"),
        ({"space_units": '"mm" "mm"'}, "no_spacing"),
        ({"kinds": "domain domain time"}, "not_a_volume"),
        ({"kinds": "vector domain domain"}, "not_a_volume"),
        ({"encoding": "ascii"}, "unreadable"),
    ],
)
def test_an_nrrd(fields: dict[str, str], reason: str, tmp_path: Path) -> None:
    assert _reason(_nrrd(tmp_path, **fields)) == reason
    sound = _nrrd(tmp_path, kinds="domain space domain", units='"mm" "mm" "mm"', spacings="nan 0.8 2.5")
    assert read_volume(sound).spacing == (2.5, 0.8, 0.7)


@pytest.mark.parametrize(("units", "reason"), [(0, ""), (10, ""), (9, "no_spacing"), (3, "no_spacing")])
def test_the_unit_of_a_nifti(units: int, reason: str, tmp_path: Path) -> None:
    (tmp_path / "v.nii").write_bytes(_nifti(units))
    if reason:
        assert _reason(tmp_path / "v.nii") == reason
    else:
        assert read_volume(tmp_path / "v.nii").hu.size == HU.size


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("v.nii.gz", b"<!DOCTYPE html>" + bytes(600), "a web page"),
        ("v.nii.gz", gzip.compress(gzip.compress(_nifti(2))), "a gzip file within a gzip file"),
        ("v.nii", b"BZh9" + bytes(600), "a bzip2 file"),
        ("v.mha", b"PK\x03\x04" + bytes(600), "a zip"),
        ("v.nrrd", bytes(128) + b"DICM" + bytes(600), "a DICOM file"),
    ],
)
def test_a_file_that_is_something_else(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RefusedVolume, match=kind) as refused:
        read_volume(tmp_path / name)
    assert refused.value.reason == "unknown_format"
