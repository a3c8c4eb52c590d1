"""MetaImage (.mha, .mhd): header and voxels, read strictly (https://itk.org/Wiki/ITK/MetaIO/Documentation).

ITK makes up a spacing of 1 mm and the orientation LPS where the header has none, and does not look at checksums.
"""

import re
from pathlib import Path
from typing import IO

import numpy as np

from bimcvr.data.reading.grid import Grid, GridRules, no_orientation
from bimcvr.data.reading.header_fields import (
    LONGEST_HEADER,
    HeaderFields,
    existing_files,
    files_beside,
    listed_files,
    malformed,
    numbered_files,
    strict_float,
    unread_encoding,
)
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume
from bimcvr.data.reading.voxels import Encoding, read_voxels

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_TRUTH = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}
_UNITS = {"mm": 1.0, "?": 1.0, "um": 0.001, "cm": 10.0}
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_ORIGINS = ("Offset", "Position", "Origin")


def read_metaimage(path: Path, rules: GridRules) -> tuple[Grid, np.ndarray]:
    """Read a MetaImage.

    Args:
        path: the .mha or .mhd file.
        rules: which grids are accepted.

    Returns:
        The grid, and the voxels (D, H, W) as stored, axes (z, y, x) of the file.

    Raises:
        RefusedVolume: it is damaged, or does not say what its voxels are or how they lie in the patient.
    """
    with path.open("rb") as stream:
        fields = _header(path, stream)
        rank = fields.integers("NDims", 1)[0]
        size = fields.integers("DimSize", rank)
        grid = Grid.checked(
            path,
            size,
            _values_a_voxel(fields),
            rules.max_voxels,
            lambda: _spacing(fields, rank),
            lambda: _axes(fields, rank),
            lambda: _origin(fields),
        )
        order = ">" if _byte_order_msb(fields) else "<"
        dtype = np.dtype(order + str(fields.choice("ElementType", _TYPES)))
        _refuse_other_modality(fields)
        _refuse_intensity_function(fields)
        voxels = _voxels(fields, stream, dtype, grid)
    return grid, voxels.reshape(grid.shape)


def data_files(path: Path) -> list[Path]:
    """Return the other files that a header names: one, a LIST of them, or those of a pattern like `slice%03d.raw`.

    Raises:
        RefusedVolume: the header is malformed.
    """
    with path.open("rb") as stream:
        fields = _header(path, stream)
        if fields.text("ElementDataFile").upper() == "LOCAL":
            return []
        return files_beside(path, _file_names(fields, stream))


def _header(path: Path, stream: IO[bytes]) -> HeaderFields:
    """Read up to the field ElementDataFile, which is the last; the stream is left behind it."""
    fields: dict[str, str] = {}
    read = 0
    while "ElementDataFile" not in fields:
        line = stream.readline(LONGEST_HEADER)
        read += len(line)
        if not line or read > LONGEST_HEADER:
            raise malformed(path, "is no MetaImage header: it has no field 'ElementDataFile'")
        text = line.decode("utf-8", errors="surrogateescape").strip()
        if not text:
            continue
        field = re.fullmatch(r"([^=:]+?)\s*[=:]\s*(.*)", text)
        if field is None or (not text.isprintable() and any(ord(sign) < 32 and sign != "\t" for sign in text)):
            raise malformed(path, f"has a line in its header that is not 'name = value' (line {len(fields) + 1})")
        name, value = field[1], field[2]
        if fields.setdefault(name, value) != value:
            raise malformed(path, f"has the field '{name}' twice in its header, with two values")
    return HeaderFields(path, fields)


def _values_a_voxel(fields: HeaderFields) -> int:
    return fields.integers("ElementNumberOfChannels", 1)[0] if "ElementNumberOfChannels" in fields else 1


def _spacing(fields: HeaderFields, rank: int) -> tuple[float, ...] | None:
    if "ElementSpacing" not in fields:
        return None
    millimetres = fields.choice("DistanceUnits", _UNITS, "mm")
    return tuple(value * float(str(millimetres)) for value in fields.numbers("ElementSpacing", rank, finite=False))


def _axes(fields: HeaderFields, rank: int) -> np.ndarray:
    """Return the direction cosines (rank, rank), column k where image axis k points in LPS."""
    given = [fields.numbers(name, rank * rank, finite=False) for name in _MATRICES if name in fields]
    if not given:
        raise no_orientation(fields.path, "has no field 'TransformMatrix'")
    if any(other != given[0] for other in given):
        raise malformed(fields.path, "has two direction matrices in its header that contradict each other")
    return np.asarray(given[0]).reshape(rank, rank).T


def _origin(fields: HeaderFields) -> list[float]:
    """Return the middle of the first voxel in mm; 0 where the header has none, as in ITK."""
    words = next((fields.text(name).split() for name in _ORIGINS if name in fields), ["0", "0", "0"])
    try:
        return [strict_float(word) * float(str(fields.choice("DistanceUnits", _UNITS, "mm"))) for word in words]
    except ValueError:
        return []


def _byte_order_msb(fields: HeaderFields) -> bool:
    names = [name for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB") if name in fields]
    orders = {bool(fields.choice(name, _TRUTH)) for name in names}
    if len(orders) > 1:
        raise malformed(fields.path, "has two byte orders in its header that contradict each other")
    return orders.pop() if orders else False


def _refuse_other_modality(fields: HeaderFields) -> None:
    modality = fields.text("Modality", "MET_MOD_CT").strip()
    if modality not in ("MET_MOD_CT", "MET_MOD_OTHER", "MET_MOD_UNKNOWN"):
        raise RefusedVolume(
            "not_ct", fields.path, f"says that it is of the modality {modality[:20]!a}, not CT.", "Give a CT."
        )


def _refuse_intensity_function(fields: HeaderFields) -> None:
    neutral = {"ElementToIntensityFunctionSlope": (1.0,), "ElementToIntensityFunctionOffset": (0.0,)}
    if any(name in fields and fields.numbers(name, 1) != value for name, value in neutral.items()):
        raise RefusedVolume(
            "intensity_function",
            fields.path,
            "states an ElementToIntensityFunction, which ITK writes into files whose voxels are converted already.",
            "Find out whether its voxels are HU, and write it again without that field.",
        )


def _voxels(fields: HeaderFields, stream: IO[bytes], dtype: np.dtype, grid: Grid) -> np.ndarray:
    path, count = fields.path, grid.voxels
    compressed = bool(fields.choice("CompressedData", _TRUTH, "False"))
    encoding: Encoding = "zlib" if compressed else "raw"
    skip = fields.integers("HeaderSize", 1)[0] if "HeaderSize" in fields else 0
    if not fields.choice("BinaryData", _TRUTH, "True"):
        raise unread_encoding(path, "keeps its voxels as text (BinaryData = False)")
    if fields.text("ElementDataFile").upper() == "LOCAL":
        if skip > 0:
            raise malformed(path, f"has HeaderSize = {skip} beside voxels in the same file")
        _check_compressed_size(fields, stream, path)
        return read_voxels(path, stream, encoding, dtype, count)
    files = existing_files(path, _file_names(fields, stream), fields.integers("DimSize")[-1])
    if len(files) > 1 and compressed:
        raise unread_encoding(path, "keeps compressed voxels in several files")
    if count % len(files):
        raise malformed(path, f"names {len(files)} files for {grid.shape[0]} slices")
    parts = []
    for file in files:
        with file.open("rb") as data:
            _skip_header(file, data, skip, 0 if compressed else count // len(files) * dtype.itemsize)
            if len(files) == 1:
                _check_compressed_size(fields, data, file)
            parts.append(read_voxels(file, data, encoding, dtype, count // len(files)))
    return np.concatenate(parts)


def _check_compressed_size(fields: HeaderFields, stream: IO[bytes], file: Path) -> None:
    if "CompressedDataSize" not in fields or not fields.choice("CompressedData", _TRUTH, "False"):
        return
    promised, there = fields.integers("CompressedDataSize", 1)[0], file.stat().st_size - stream.tell()
    if there < promised:
        raise RefusedVolume(
            "truncated", file, f"ends before the {promised} bytes of voxels that its header promises.", FETCH_AGAIN
        )


def _skip_header(file: Path, stream: IO[bytes], skip: int, length: int) -> None:
    """Move behind a data file's own header; −1 means that the voxels are its last bytes."""
    size = file.stat().st_size
    if skip == -1 and length:
        skip = size - length
    if skip < 0 or skip > size:
        raise malformed(file, "is shorter than the header and voxels that it should hold")
    stream.seek(skip)


def _file_names(fields: HeaderFields, stream: IO[bytes]) -> list[str]:
    path, named = fields.path, fields.text("ElementDataFile")
    if re.match(r"LIST\b", named, re.IGNORECASE):
        return listed_files(stream)
    return numbered_files(path, named)
