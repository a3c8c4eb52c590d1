"""Uploads that are refused: references to other files, bombs, false sizes."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless
from starlette.testclient import TestClient

from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.search.uploading import uploads
from helpers.running_server import Made, left_behind
from helpers.upload_factory import dicom, malformed, references, volume_bytes, zipped


def test_a_header_cannot_have_another_file_read(client: TestClient, made: Made, tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(np.full(1000, 7, dtype="<i2").tobytes())
    bait = references(bytes(secret))
    for name in ("plain.mha", "colon.mha", "plain.nrrd", "return.nrrd"):
        (tmp_path / name).write_bytes(bait[name])
        assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))).max() == 7, (
            "the bait works where nobody looks"
        )
    for name, content in bait.items():
        for path in ("/api/convert", "/api/search/volume"):
            assert client.post(path, params={"name": name}, content=content).status_code == 422, name
    assert left_behind(made.index) == []


def test_malformed_uploads_are_refused_and_nothing_stays(client: TestClient, made: Made, tmp_path: Path) -> None:
    for what, (name, content) in malformed(tmp_path).items():
        for path in ("/api/search/volume", "/api/convert"):
            response = client.post(path, params={"name": name}, content=content)
            assert response.status_code in (413, 422), (what, path, response.status_code, response.text)
            assert str(made.index) not in response.text, what
            assert "/derived" not in response.text, what
        assert left_behind(made.index) == [], what
    assert not (tmp_path / "evil").exists()


def test_sound_uploads_leave_nothing(client: TestClient, made: Made, tmp_path: Path) -> None:
    for path in ("/api/search/volume", "/api/convert"):
        assert (
            client.post(path, params={"name": "../../x.nii.gz"}, content=volume_bytes(tmp_path, "v.nii.gz")).status_code
            == 200
        )
        assert left_behind(made.index) == []


def test_a_members_size_is_what_its_zip_promised(tmp_path: Path) -> None:
    """A directory that promises less than its member holds does not fill the disk."""
    forged = bytearray(zipped({"a": b"y" * 5_000_000}))
    position = forged.rindex(b"PK\x01\x02")
    forged[position + 24 : position + 28] = (10).to_bytes(4, "little")
    (tmp_path / "upload.zip").write_bytes(forged)
    with pytest.raises(UserError):
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "series").iterdir()) <= 10


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Rows": 60_000, "Columns": 60_000, "NumberOfFrames": 1000}, "voxels"),
        ({"Rows": 4096, "Columns": 4096, "NumberOfFrames": 32, "BitsAllocated": 64}, "bytes of voxels"),
        ({"Rows": 4096, "Columns": 4096, "NumberOfFrames": 32, "SamplesPerPixel": 3}, "bytes of voxels"),
    ],
)
def test_dicom_claims_are_counted_before_they_are_decoded(tmp_path: Path, tags: dict[str, int], message: str) -> None:
    (tmp_path / "upload.zip").write_bytes(zipped({"a": dicom(JPEG2000Lossless, **tags)}))
    with pytest.raises(RefusedVolume, match=message) as refusal:
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert refusal.value.reason == "too_large"


def test_deflated_dicom_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = dicom(DeflatedExplicitVRLittleEndian, Rows=8, Columns=8, TextValue="0" * 30_000_000)
    assert len(bomb) < 10**5
    (tmp_path / "upload.zip").write_bytes(zipped({"a": bomb}))
    monkeypatch.setattr(zlib, "decompress", None)
    with pytest.raises(RefusedVolume, match="deflated as a whole") as refusal:
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert refusal.value.reason == "deflated"
    assert str(tmp_path) not in str(refusal.value)


def test_bytes_are_counted_not_voxels(tmp_path: Path) -> None:
    mha = (
        "ObjectType = Image\nNDims = 3\nDimSize = 512 512 2048\nElementType = {}\n{}CompressedData ="
        " True\nElementDataFile = LOCAL\nx"
    )
    for kind, more, fits in (
        ("MET_SHORT", "", True),
        ("MET_FLOAT", "", True),
        ("MET_DOUBLE", "", False),
        ("MET_LONG_LONG", "", False),
        ("MET_SHORT", "ElementNumberOfChannels = 3\n", False),
    ):
        (tmp_path / "upload.mha").write_text(mha.format(kind, more))
        if fits:
            assert uploads.open_upload(tmp_path / "upload.mha", tmp_path) == tmp_path / "upload.mha"
        else:
            with pytest.raises(RefusedVolume, match=f"{uploads.MOST_BYTES:,}"):
                uploads.open_upload(tmp_path / "upload.mha", tmp_path)


def test_a_bomb_of_many_small_members_is_refused(tmp_path: Path) -> None:
    (tmp_path / "upload.zip").write_bytes(zipped({f"{number}": b"\0" * 1_000_000 for number in range(12)}))
    with pytest.raises(RefusedVolume, match="over 200 times its size"):
        uploads.open_upload(tmp_path / "upload.zip", tmp_path)
    assert list((tmp_path / "series").iterdir()) == []
