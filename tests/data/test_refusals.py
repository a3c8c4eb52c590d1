"""Whatever goes wrong in one volume is that volume's refusal, and memory is bounded by what its file holds."""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from bimcvr.curation.pipeline.denoise import Denoise
from bimcvr.curation.pipeline.ingest import IngestedStudy, IngestSettings, ingest_study
from bimcvr.curation.pipeline.shard_records import ShardRecords
from bimcvr.curation.pipeline.shards import ingest_shards
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.cache.volume_cache import VolumeCache, cache_entries
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading import volume as reader
from bimcvr.data.reading.grid import GridRules
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.reading.volume import read_volume
from bimcvr.data.reading.voxels import StreamedVoxels
from bimcvr.parallel import WorkerKilled, run_tasks

SPACING = (2.5, 0.8, 0.7)


def nifti(
    shape: tuple[int, int, int], qform: tuple[float, float, float] = (0, 0, 0), codes: tuple[int, int] = (0, 1)
) -> bytes:
    """The header of an int16 NIfTI-1 in RAS."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, *SPACING[::-1], 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<2h", header, 252, *codes)
    struct.pack_into("<3f", header, 256, *qform)
    rows = np.diag([*SPACING[::-1], 1.0])[:3]
    struct.pack_into("<12f", header, 280, *rows.ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)


ERRORS = [
    zlib.error("-5"), NotImplementedError("VR"), RecursionError(), ZeroDivisionError(), MemoryError(),
    PermissionError(13, "Permission denied"), OSError(5, "Input/output error"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("while_decoding", [False, True])
def test_any_error_is_a_refusal_without_the_error_s_words(
    error: Exception, while_decoding: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.nii"
    path.write_bytes(nifti((4, 5, 6)) + bytes(240))

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(*((StreamedVoxels, "slabs") if while_decoding else (reader, "read_nifti")), fail)
    for read in (read_volume, lambda source: read_resized(source, (2, 2, 2))):
        with pytest.raises(RefusedVolume, match=r"v\.nii ") as refused:
            read(path)
        reason = {MemoryError: "too_large", PermissionError: "no_access", OSError: "no_access"}
        assert refused.value.reason == reason.get(type(error), "unreadable")
        assert "VR" not in str(refused.value)
        assert not isinstance(error, OSError) or str(error.strerror) in str(refused.value)


def test_a_source_that_cannot_be_opened_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f"{name}.nii").write_bytes(nifti((4, 5, 6)) + bytes(240))
    (tmp_path / "m.csv").write_text("study_id,volume,report\na,a.nii,x\nb,b.nii,y\n")
    manifest = read_manifest(tmp_path / "m.csv")
    opened = Path.open

    def closed(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "a.nii":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", closed)
    entries, refused = cache_entries(manifest, np.arange(2), VolumeCache(tmp_path / "cache", ModelGrid((2, 2, 2))))
    assert list(entries) == [1]
    assert refused[0].startswith("no_access: ")
    assert "Permission denied" in refused[0]
    ingested = ingest_study(SourceStudy("a", tmp_path / "a.nii", "x"), IngestSettings(tmp_path / "out"))
    assert isinstance(ingested, SetAside)
    assert ingested.reason == "no_access"


def test_a_task_that_kills_its_process_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimcvr.parallel._SUSPECTS", 3)
    deadly = {5, 11}
    tasks = {key: ("__import__('os')._exit(9)" if key in deadly else f"{key} * {key}",) for key in range(14)}
    results = dict(run_tasks(eval, tasks, jobs=2))
    assert all(isinstance(results.pop(key), WorkerKilled) for key in deadly)
    assert results == {key: key * key for key in range(14) if key not in deadly}


@dataclass(frozen=True)
class Deadly(Denoise):
    """A filter that ends its process on one volume, as the system does where memory is full."""

    def write(self, source: Path, target: Path, rules: GridRules) -> None:
        if source.name == "v1.nii":
            os._exit(9)
        super().write(source, target, rules)


@dataclass(frozen=True)
class Shelf:
    """A source of one shard, which is to be deleted once it is taken in."""

    folder: Path
    released: list[str]
    keep: str = "nothing"

    @property
    def root(self) -> Path:
        return self.folder

    work = root

    def shards(self) -> list[str]:
        return ["a"]

    def studies(self, shards: object = None) -> list[SourceStudy]:
        return [SourceStudy(f"s{number}", self.folder / f"v{number}.nii", "text") for number in range(4)]

    def release(self, shard: str) -> None:
        self.released.append(shard)

    def faults(self) -> list[SetAside]:
        return []


def test_a_volume_that_kills_its_reader_is_set_aside_by_curate_and_its_shard_kept(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        voxels = np.arange(number, 120 + number, dtype="<i2")
        (tmp_path / f"in/v{number}.nii").write_bytes(nifti((4, 5, 6)) + voxels.tobytes())
    records, out = ShardRecords(tmp_path / "out"), tmp_path / "out"
    for denoise, state in ((Deadly("MedianImageFilter"), SetAside), (None, IngestedStudy)):
        shelf = Shelf(tmp_path / "in", [])
        settings, jobs = IngestSettings(out, ModelGrid((2, 2, 2)), denoise), 2 if denoise else 1
        assert ingest_shards(shelf, settings, records, jobs=jobs) == 4 - bool(denoise)
        items = records.items()
        assert [type(item) for item in items] == [IngestedStudy, state, IngestedStudy, IngestedStudy]
        assert shelf.released == ([] if denoise else ["a"])
        if isinstance(items[1], SetAside):
            assert (items[1].name, items[1].reason) == ("s1", "unreadable")
            assert "killed the process that read it" in items[1].message


def test_the_form_that_is_named_decides(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    voxels = np.arange(120, dtype="<i2")
    # half a turn about the patient's axis: left and right, front and back
    path.write_bytes(nifti((4, 5, 6), (0, 0, 1), (1, 1)) + voxels.tobytes())
    with pytest.raises(RefusedVolume, match="nifti_form to sform or qform"):
        read_volume(path)
    by_sform = read_volume(path, GridRules("sform"))
    by_qform = read_volume(path, GridRules("qform"))
    assert (by_sform.geometry.orientation, by_qform.geometry.orientation) == ("RAS", "LPS")
    assert (by_sform.hu == by_qform.hu[:, ::-1, ::-1]).all()
    assert by_qform.hu.ravel().tolist() == voxels.tolist()
    # where the file has one form only, it is that one
    path.write_bytes(nifti((4, 5, 6)) + voxels.tobytes())
    assert read_volume(path, GridRules("qform")).geometry.orientation == "RAS"
    keys = {
        VolumeCache(tmp_path, ModelGrid((2, 2, 2)), GridRules(form)).entry(path) for form in ("auto", "sform", "qform")
    }
    assert len(keys) == 3
    with pytest.raises(RefusedVolume, match="max_voxels") as refused:
        read_volume(path, GridRules(max_voxels=119))
    assert refused.value.reason == "too_large"


def test_compressed_slices_with_names_in_no_encoding(tmp_path: Path) -> None:
    from test_plain_names import VOXELS, raw_path, write_slices

    folder = write_slices(tmp_path / "series")
    expected = read_volume(folder).hu
    for number, file in enumerate(sorted(folder.iterdir())):
        data = dcmread(file)
        data.PixelRepresentation, data.RescaleIntercept = 0, -2048
        stream = io.BytesIO()
        Image.fromarray((VOXELS[number] + 1024).astype(np.uint16)).save(stream, "JPEG2000", no_jp2=True)
        data.PixelData = encapsulate([stream.getvalue()])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
        data.save_as(raw_path(folder, b"se\xf1al%d.dcm" % number))
        file.unlink()
    assert (read_volume(folder).hu == expected).all()


def test_every_order_of_axes_is_written_into_place(tmp_path: Path) -> None:
    hu = np.random.default_rng(2).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((0.7, 0.8, 2.5))
    for code in ("LPS", "RAI", "SLA", "PIR"):
        sitk.WriteImage(sitk.DICOMOrient(image, code), str(tmp_path / "v.nrrd"))
        read = read_volume(tmp_path / "v.nrrd")
        assert read.hu.flags.c_contiguous
        assert (read.hu == hu).all()
        assert read.spacing == pytest.approx((2.5, 0.8, 0.7))
