"""Uploads that do not belong are told, and a zip of several series offers a choice; no model is trained for it."""

import io
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from starlette.testclient import TestClient

from bimcvr.search.index.reader import Index
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server.service import SearchService
from helpers.index_factory import WordEncoder, make_index, study
from helpers.running_server import HOST, app_of
from helpers.upload_factory import zipped


def slice_bytes(index: int, series: str, value: int, **tags: object) -> bytes:
    """One slice of a CT series, all of one value in HU."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = f"1.2.9.{series}.{index}".replace("..", ".")
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = series, "1.2.3", "1.2.3"
    header.Modality, header.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.PhotometricInterpretation, header.SamplesPerPixel = "MONOCHROME2", 1
    header.Rows, header.Columns = 8, 10
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.PixelSpacing, header.SliceThickness = [0.8, 0.7], 2.5
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.ImagePositionPatient = [-10, -20, -100 + 2.5 * index]
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    header.PixelData = np.full((8, 10), value, dtype="<i2").tobytes()
    for name, content in tags.items():
        setattr(header, name, content)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def export(*series: tuple[str, int, dict[str, object]]) -> bytes:
    """A zip as a hospital exports a study: a folder a series."""
    return zipped(
        {
            f"study/{uid}/{index}.dcm": slice_bytes(index, uid, value, **tags)
            for uid, value, tags in series
            for index in range(2 if "LOCALIZER" in str(tags) else 6)
        }
    )


SCOUT = ("1.2.4.1", 0, {"SeriesNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
SOFT = ("1.2.4.9", 40, {"SeriesNumber": 2, "SeriesDescription": "Thorax soft", "ConvolutionKernel": "B30f"})
LUNG = ("1.2.4.5", -700, {"SeriesNumber": 3, "SeriesDescription": "Thorax lung", "ConvolutionKernel": "B70f"})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = make_index(tmp_path_factory.mktemp("made") / "index", [study("s1"), study("s2")])
    service = SearchService(folder, None, anonymous=False)
    with TestClient(app_of(service), base_url=HOST, raise_server_exceptions=False) as client:
        yield client
    service.close()


def convert(client: TestClient, content: bytes, **params: object) -> tuple[int, dict[str, object], bytes]:
    response = client.post("/api/convert", params={"name": "study.zip", **params}, content=content)
    return response.status_code, {} if response.status_code == 200 else response.json(), response.content


def test_a_zip_of_several_series_offers_a_choice(client: TestClient, tmp_path: Path) -> None:
    content = export(LUNG, SCOUT, SOFT)
    status, answer, _ = convert(client, content)
    assert status == 409
    described = [tuple(one[name] for name in ("series", "description", "slices", "kernel")) for one in answer["series"]]  # type: ignore[attr-defined]
    assert described == [(1, "", 2, ""), (2, "Thorax soft", 6, "B30f"), (3, "Thorax lung", 6, "B70f")]
    for number, value in ((2, 40), (3, -700)):
        status, _, converted = convert(client, content, series=number)
        assert status == 200
        (tmp_path / "v.nii.gz").write_bytes(converted)
        assert set(np.unique(np.asarray(nib.load(tmp_path / "v.nii.gz").dataobj))) == {value}  # type: ignore[attr-defined]
    assert convert(client, content, series=1)[0] == 422, "a scout is no volume"
    assert convert(client, content, series=7)[0] == 422


def test_a_scout_beside_one_series_needs_no_choice(client: TestClient) -> None:
    assert convert(client, export(SCOUT, SOFT))[0] == 200


def test_a_volume_that_does_not_belong_is_told(tmp_path: Path) -> None:
    """What `audit` flags is said of a query too: here a slab of 4 cm without lungs."""
    slab = sitk.GetImageFromArray(np.random.default_rng(0).normal(40, 20, (10, 100, 100)).astype(np.int16))
    slab.SetSpacing((3.0, 3.0, 4.0))
    sitk.WriteImage(slab, str(tmp_path / "slab.nii.gz"))
    with Index.open(make_index(tmp_path / "index", [study("s1"), study("s2")])) as index:
        results = Searcher(index, WordEncoder()).volume(tmp_path / "slab.nii.gz")
    notes = " ".join(results.notes)
    assert "the size of the volume in mm is not that of a trunk (the volume is 40 mm long)" in notes
    assert "slab.nii.gz" not in notes
    assert results.hits
