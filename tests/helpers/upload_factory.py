"""Uploads for tests: sound ones, malformed ones, and headers that refer to other files."""

import io
import zipfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian


def volume_bytes(tmp_path: Path, name: str, shape: tuple[int, int, int] = (6, 7, 8)) -> bytes:
    image = sitk.GetImageFromArray(np.full(shape, -500, dtype=np.int16))
    sitk.WriteImage(image, str(tmp_path / name), name.endswith((".gz", ".mha", ".nrrd")))
    return (tmp_path / name).read_bytes()


def zipped(members: dict[str, bytes], **how: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = how.get("mode", 0o100644) << 16
            packed.writestr(member, content)
    return stream.getvalue()


def dicom(syntax: str, **tags: int | bytes) -> bytes:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    header = FileDataset("a", {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in tags.items():
        setattr(header, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, header, enforce_file_format=False)
    return stream.getvalue()


def malformed(tmp_path: Path) -> dict[str, tuple[str, bytes]]:
    """Uploads that must be refused, by what is wrong with them."""
    whole = {suffix: volume_bytes(tmp_path, f"v{suffix}") for suffix in (".nii", ".nii.gz", ".mha", ".nrrd")}
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"\x00" * 4000)
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_SHORT\nElementDataFile = %s\n"
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 10 10 10\nencoding: raw\n%s\n\n"
    huge = bytearray(whole[".nii"])
    huge[40:56] = np.array([3, 32000, 32000, 32000, 1, 1, 1, 1], dtype="<i2").tobytes()
    return {
        **{f"cut {suffix}": (f"v{suffix}", content[: len(content) * 2 // 3]) for suffix, content in whole.items()},
        **{f"noise {suffix}": (f"v{suffix}", np.random.default_rng(1).bytes(3000)) for suffix in (*whole, ".zip")},
        "empty": ("v.nii", b""),
        "unknown": ("v.exe", b"MZ"),
        "no suffix": ("nii", b"x"),
        "pickle": ("v.npz", b"\x80\x04"),
        "detached": ("v.mhd", whole[".mha"]),
        "mha elsewhere": ("v.mha", mha % str(secret).encode()),
        "mha up": ("v.mha", mha % b"../../../../../../etc/passwd"),
        "mha list": ("v.mha", mha % b"LIST\n/etc/passwd"),
        "nrrd list": ("v.nrrd", nrrd % b"data file: LIST"),
        "huge claim": ("v.nii", bytes(huge)),
        "huge mha": ("v.mha", (mha % b"LOCAL").replace(b"10 10 10", b"60000 60000 60000")),
        "zip up": ("v.zip", zipped({"../../../../../../evil-of-a-test": b"x"})),
        "zip absolute": ("v.zip", zipped({str(tmp_path / "evil"): b"x"})),
        "zip backslash": ("v.zip", zipped({"..\\evil": b"x"})),
        "zip link": ("v.zip", zipped({"a": b"/etc/passwd"}, mode=0o120777)),
        "zip without DICOM": ("v.zip", zipped({"a.txt": b"hello", "b.nii": whole[".nii"]})),
        "zip empty": ("v.zip", zipped({})),
        "zip bomb": ("v.zip", zipped({"a.dcm": b"\0" * 30_000_000})),
        "zip of dirs": ("v.zip", zipped({f"{i}/": b"" for i in range(10)})),
        "zip of many": ("v.zip", zipped({f"{i}": b"" for i in range(5001)})),
        "deflated DICOM": (
            "v.zip",
            zipped({"a.dcm": dicom(DeflatedExplicitVRLittleEndian, Rows=8, Columns=8, TextValue="0" * 10**6)}),
        ),
        "zip of small bombs": ("v.zip", zipped({f"{i}": b"\0" * 10**6 for i in range(12)})),
        "huge doubles": (
            "v.mha",
            (mha % b"LOCAL").replace(b"10 10 10", b"512 512 2048").replace(b"MET_SHORT", b"MET_DOUBLE"),
        ),
        "false DICOM": (
            "v.zip",
            zipped({"a.dcm": b"\0" * 128 + b"DICM" + b"\xff" * 100, "b.dcm": b"\0" * 128 + b"DICM"}),
        ),
    }


def references(secret: bytes) -> dict[str, bytes]:
    """Headers that have a library read another file.

    Each of the first of a format does so if nobody looks (MetaIO, Teem).
    """
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 10 10 10\nElementType = MET_SHORT\n"
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 10 10 10\nendian: little\nencoding: raw"
    local, voxels = b"ElementDataFile = LOCAL\n", b"\0" * 2000
    return {
        "plain.mha": mha + b"ElementDataFile = " + secret + b"\n",
        "colon.mha": mha + b"ElementDataFile : " + secret + b"\n" + local + voxels,
        "twice.mha": mha + local + b"ElementDataFile = " + secret + b"\n",
        "lower.mha": mha + b"elementdatafile = " + secret + b"\n" + local + voxels,
        "return.mha": b"Comment = a\rElementDataFile = " + secret + b"\n" + mha + local + voxels,
        "late.mha": mha + b"".join(b"Comment = %d\n" % i for i in range(6000)) + b"ElementDataFile = " + secret + b"\n",
        "plain.nrrd": nrrd + b"\ndata file: " + secret + b"\n\n",
        "return.nrrd": nrrd + b"\rdata file: " + secret + b"\n\n",
        "returns.nrrd": nrrd.replace(b"\n", b"\r") + b"\rdata file: " + secret + b"\r\r\n\n",
        "one word.nrrd": nrrd + b"\nDataFile: " + secret + b"\n\n",
        "late.nrrd": nrrd + b"\n" + b"# comment\n" * 8000 + b"data file: " + secret + b"\n\n",
    }
