"""Memory is bounded by the voxels that a file holds, whatever its header claims, in every reader.

Each file is read in a process whose peak is set back before: at most three times the voxels and 200 MB where it is
read, 150 MB beside what Python and its libraries take where it is refused.
"""

import bz2
import gzip
import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

MEASURE = """
import json, pathlib, sys
import nibabel, pydicom, SimpleITK
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.reading.volume import RefusedVolume, read_volume
def memory(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])
for path in map(pathlib.Path, sys.stdin.read().splitlines()):
    for read in (read_volume, lambda source: read_resized(source, (8, 16, 16))):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before, voxels = memory("VmRSS"), 0
        try:
            size = read(path).geometry.native_size
            outcome, voxels = "read", size[0] * size[1] * size[2]
        except RefusedVolume as refusal:
            outcome = refusal.reason
        print(json.dumps([path.name, outcome, voxels, memory("VmHWM") - before]))
"""
MHA = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {}\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 2\nDimSize = {}\n"
    "ElementType = {}\nElementDataFile = LOCAL\n"
)
NRRD = (
    "NRRD0004\ntype: {}\ndimension: 3\nspace: left-posterior-superior\nsizes: {}\n"
    "space directions: (1,0,0) (0,1,0) (0,0,2)\nendian: little\nencoding: {}\n\n"
)
SHAPE = (30, 200, 200)
"""Of the sound files: 2.4 MB of int16."""
PACK = {"raw": bytes, "zlib": lambda data: zlib.compress(data, 1), "gzip": lambda data: gzip.compress(data, 1)}
CLAIMS = (0, 1, 2, 7, 300, 4000, 32767, 60_000, 2**31, 2**40)


def nifti(shape: tuple[int, ...], kind: int = 4, bits: int = 16, offset: float = 352) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *[max(-(2**15), min(2**15 - 1, side)) for side in shape[::-1]], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, kind, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 2, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, offset)
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, *np.diag([1, 1, 2, 1])[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)


def dicom(number: int, syntax: str, pixels: bytes, **tags: Any) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    one = FileDataset("a", {}, file_meta=meta, preamble=bytes(128))
    fields = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"1.2.3.{number}", "Modality": "CT", "PatientID": "p",
        "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5",
        "InstanceNumber": number,
        "Rows": 64, "Columns": 64, "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2", "RescaleSlope": "1",
        "RescaleIntercept": "-1024", "PixelSpacing": [1, 1], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 2 * number], "PixelData": pixels,
    }  # fmt: skip
    for name, value in {**fields, **tags}.items():
        setattr(one, name, value)
    one["PixelData"].VR = "OW" if syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian) else "OB"
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, one, enforce_file_format=True)
    return stream.getvalue()


def jpeg_2000(side: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side), dtype=np.uint16)).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    return stream.getvalue()


def single_files(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Sound files, bombs, and files whose headers claim something random about the voxels behind them."""
    count = int(np.prod(SHAPE))
    sound = rng.integers(0, 1000, count).astype("<i2").tobytes()
    zeros, sizes = bytes(60_000_000), " ".join(map(str, SHAPE[::-1]))
    yield "sound.nii", nifti(SHAPE) + sound
    yield "sound.nii.gz", gzip.compress(nifti(SHAPE) + sound, 1)
    for name, pack in PACK.items():
        if name != "gzip":
            yield f"sound-{name}.mha", MHA.format(name == "zlib", sizes, "MET_SHORT").encode() + pack(sound)
        if name != "zlib":
            yield f"sound-{name}.nrrd", NRRD.format("short", sizes, name).encode() + pack(sound)
    yield "sound-bzip2.nrrd", NRRD.format("short", sizes, "bzip2").encode() + bz2.compress(sound, 1)
    yield "long.nii", nifti((4000, 16, 16)) + bytes(4000 * 16 * 16 * 2)
    yield "bomb-padded.nii.gz", gzip.compress(nifti((4, 5, 6)) + bytes(240) + zeros, 1)
    yield "bomb-offset.nii.gz", gzip.compress(nifti((4, 5, 6), offset=5e7) + zeros, 1)
    yield "bomb-inside.mha", MHA.format(True, "9 9 9", "MET_SHORT").encode() + zlib.compress(zeros, 1)
    yield "bomb-inside.nrrd", NRRD.format("short", "9 9 9", "bzip2").encode() + bz2.compress(zeros)
    yield "bomb-side.nrrd", NRRD.format("short", "2 2 10000000", "gzip").encode() + gzip.compress(zeros, 1)
    yield "bomb-doubles.nrrd", NRRD.format("double", "400 400 40", "gzip").encode() + gzip.compress(zeros, 1)
    little = bytes(200_000)
    for number in range(60):
        claim = [int(rng.choice(CLAIMS)) for _ in range(3)]
        words = " ".join(map(str, claim))
        kind, bits = [(2, 8), (4, 16), (16, 32), (64, 64), (1024, 64), (128, 24), (1792, 128)][int(rng.integers(7))]
        head = nifti(tuple(claim), kind, bits, float(rng.choice([0, 352, 1e5, 1e9, -1, 3e38])))
        match number % 6:
            case 0:
                yield f"{number}.nii", head + little
            case 1:
                yield f"{number}.nii.gz", gzip.compress(head + zeros[: int(rng.choice([0, 10**4, 10**7]))], 1)
            case 2 | 3:
                element = str(rng.choice(["MET_CHAR", "MET_SHORT", "MET_DOUBLE", "MET_ULONG_LONG"]))
                packed = number % 6 == 2
                yield (
                    f"{number}.mha",
                    MHA.format(packed, words, element).encode() + (zlib.compress(little) if packed else little),
                )
            case _:
                element = str(rng.choice(["uchar", "short", "double", "uint64"]))
                name = str(rng.choice(["raw", "gzip", "bzip2"]))
                body = {"raw": little, "gzip": gzip.compress(little), "bzip2": bz2.compress(little)}[name]
                yield f"{number}.nrrd", NRRD.format(element, words, name).encode() + body


def series(rng: np.random.Generator) -> Iterator[tuple[str, list[bytes]]]:
    """Sound series, and series of which one slice or all claim something random."""
    plain = rng.integers(0, 2000, 64 * 64).astype("<u2").tobytes()
    code = jpeg_2000(64)
    compressed = pydicom.dcmread(io.BytesIO(dicom(0, ExplicitVRLittleEndian, plain)))
    compressed.compress(RLELossless, generate_instance_uid=False)
    runs = compressed.PixelData
    kinds = {
        "plain": (ExplicitVRLittleEndian, plain), "deflated": (DeflatedExplicitVRLittleEndian, plain),
        "rle": (RLELossless, runs), "j2k": (JPEG2000Lossless, encapsulate([code])),
    }  # fmt: skip
    for name, (syntax, pixels) in kinds.items():
        yield f"sound-{name}", [dicom(number, syntax, pixels) for number in range(8)]
        for number in range(10):
            tags: dict[str, Any] = {
                str(tag): int(rng.choice([1, 2, 8, 64, 4096, 60_000]))
                for tag in rng.choice(["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated"], 2)
            }
            spoilt = range(8) if number % 2 else [int(rng.integers(8))]
            yield (
                f"{name}-{number}",
                [dicom(one, syntax, pixels, **(tags if one in spoilt else {})) for one in range(8)],
            )
    wide = bytearray(code)
    struct.pack_into(">8I", wide, 8, 30_000, 30_000, 0, 0, 30_000, 30_000, 0, 0)
    yield "j2k-wide", [dicom(one, JPEG2000Lossless, encapsulate([bytes(wide)])) for one in range(8)]
    claimed = {"Rows": 30_000, "Columns": 30_000}
    yield "j2k-wide-too", [dicom(one, JPEG2000Lossless, encapsulate([bytes(wide)]), **claimed) for one in range(8)]
    bomb = {"ImageComments": "0" * 60_000_000}
    yield (
        "bomb-deflated",
        [dicom(one, DeflatedExplicitVRLittleEndian, plain, **(bomb if one == 3 else {})) for one in range(8)],
    )
    cut = [dicom(one, JPEG2000Lossless, encapsulate([code])) for one in range(8)]
    cut[3] = cut[3].replace(struct.pack("<HHI", 0xFFFE, 0xE000, len(code)), struct.pack("<HHI", 0xFFFE, 0xE000, 2**31))
    yield "j2k-length", cut


def test_memory_is_bounded_by_the_voxels_that_a_file_holds(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("the peak of a process can be set back on Linux alone")
    rng = np.random.default_rng(3)
    paths = []
    for name, content in single_files(rng):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    for name, slices in series(rng):
        paths.append(tmp_path / name)
        paths[-1].mkdir()
        for number, content in enumerate(slices):
            (paths[-1] / f"{number}.dcm").write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", MEASURE], input="\n".join(map(str, paths)), capture_output=True, text=True, check=True
    )
    measured = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(measured) == 2 * len(paths)
    outcomes: dict[str, str] = {}
    for name, outcome, voxels, peak in measured:
        # at most eight bytes a voxel as stored
        limit = 150e6 if outcome != "read" else 3 * 2 * voxels + 200e6
        assert peak <= limit, (name, outcome, voxels, peak)
        assert outcomes.setdefault(name, outcome) == outcome, name
    assert all(outcome == "read" for name, outcome in outcomes.items() if name.startswith(("sound", "long")))
    assert all(outcome != "read" for name, outcome in outcomes.items() if name.startswith("bomb"))
