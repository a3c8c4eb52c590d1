"""NRRD (.nrrd, .nhdr): header and voxels, read strictly (https://teem.sourceforge.net/nrrd/format.html).

ITK makes up a spacing of 1 mm and the orientation LPS where the header has none.
"""

import math
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
    name: code
    for code, names in {
        "i1": "signed char, int8, int8_t",
        "u1": "uchar, unsigned char, uint8, uint8_t",
        "i2": "short, short int, signed short, signed short int, int16, int16_t",
        "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
        "i4": "int, signed int, int32, int32_t",
        "u4": "uint, unsigned int, uint32, uint32_t",
        "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
        "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(", ")
}
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
# signs that turn the space's axes into LPS
_SPACES = {
    "left-posterior-superior": (1, 1, 1), "LPS": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "RAS": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "LAS": (1, -1, 1),
}  # fmt: skip
_UNITS = {
    "mm": 1.0,
    "millimeter": 1.0,
    "millimeters": 1.0,
    "cm": 10.0,
    "m": 1000.0,
    "um": 0.001,
    "µm": 0.001,
    "microns": 0.001,
}
_SPATIAL_KINDS = ("domain", "space", "none", "???")
_VECTOR = re.compile(r"\(\s*([^()]*?)\s*\)|\bnone\b", re.IGNORECASE)


def read_nrrd(path: Path, rules: GridRules) -> tuple[Grid, np.ndarray]:
    """Read an NRRD.

    Args:
        path: the .nrrd or .nhdr file.
        rules: which grids are accepted.

    Returns:
        The grid, and the voxels (D, H, W) as stored, axes (z, y, x) of the file.

    Raises:
        RefusedVolume: it is damaged, or does not say what its voxels are or how they lie in the patient.
    """
    with path.open("rb") as stream:
        fields = _header(path, stream)
        rank = fields.integers("dimension", 1)[0]
        size = fields.integers("sizes", rank)
        first = _first_spatial_axis(fields, size)
        values = size[0] if first else 1
        grid = Grid.checked(
            path,
            size[first:],
            values,
            rules.max_voxels,
            lambda: _spacing(fields, first),
            lambda: _direction(fields, first),
            lambda: _origin(fields),
        )
        _refuse_other_axes(fields, first, grid)
        _refuse_value_range(fields)
        dtype = _dtype(fields)
        voxels = _voxels(fields, stream, dtype, grid)
    return grid, voxels.reshape(grid.shape)


def data_files(path: Path) -> list[Path]:
    """Return the other files that a header names: one, a LIST of them, or those of a pattern like `slice%03d.raw`.

    Raises:
        RefusedVolume: the header is malformed.
    """
    with path.open("rb") as stream:
        fields = _header(path, stream)
        return files_beside(path, _file_names(fields, stream)) if "data file" in fields else []


def _header(path: Path, stream: IO[bytes]) -> HeaderFields:
    """Read the header up to its empty line, or to the end of a detached one whose data files are listed."""
    if not re.fullmatch(rb"NRRD000[1-5]", stream.readline(64).rstrip(b"\r\n")):
        raise malformed(path, "does not begin with 'NRRD0001' to 'NRRD0005'")
    fields: dict[str, str] = {}
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_HEADER), b""), 2):
        text = line.decode("utf-8", errors="surrogateescape").rstrip("\r\n")
        if stream.tell() > LONGEST_HEADER:
            raise malformed(path, "has no empty line behind its header")
        if not text:
            break
        if any(ord(sign) < 32 and sign != "\t" for sign in text):
            raise malformed(path, f"has a control character in line {number} of its header")
        if text.startswith("#") or re.match(r"[^:]*:=", text):
            continue  # a comment, or a key of the user's own
        field = re.fullmatch(r"([a-zA-Z ]+?)\s*: *(.*?)\s*", text)
        if field is None:
            raise malformed(path, f"has a line in its header that is no field (line {number})")
        name = field[1]
        name = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}.get(name, name)
        if name in fields:
            raise malformed(path, f"has the field '{name}' twice in its header")
        fields[name] = field[2]
        if name == "data file" and re.match(r"LIST\b", field[2]):
            break
    return HeaderFields(path, fields)


def _first_spatial_axis(fields: HeaderFields, size: tuple[int, ...]) -> int:
    """Return 1 where the first axis holds the values of a voxel, else 0."""
    vectors = _vectors(fields) if "space directions" in fields else []
    return int(len(size) == 4 and bool(vectors) and vectors[0] is None)


def _vectors(fields: HeaderFields) -> list[list[float] | None]:
    """Return the space directions, None for an axis that has none."""
    text = fields.text("space directions")
    if _VECTOR.sub("", text).strip():
        raise malformed(fields.path, "has no vectors in the field 'space directions'")
    vectors: list[list[float] | None] = []
    for match in _VECTOR.finditer(text):
        try:
            vectors.append(None if match[1] is None else [strict_float(word) for word in match[1].split(",")])
        except ValueError:
            raise malformed(fields.path, "has no numbers in the field 'space directions'") from None
    if len(vectors) != fields.integers("dimension", 1)[0]:
        raise malformed(fields.path, f"has {len(vectors)} vectors in the field 'space directions', not one an axis")
    return vectors


def _matrix(fields: HeaderFields, first: int) -> np.ndarray | None:
    """Return the vectors (3, 3) of three spatial axes in mm, column k that of axis k, in the header's own space."""
    if "space directions" not in fields:
        return None
    vectors = _vectors(fields)[first : first + 3]
    if len(vectors) < 3 or any(vector is None or len(vector) != 3 for vector in vectors):
        raise malformed(fields.path, "has not one vector of three numbers an axis in the field 'space directions'")
    return np.asarray(vectors, dtype=np.float64).T * _millimetres(fields)


def _millimetres(fields: HeaderFields) -> float:
    """Return how many mm the header's unit of space has; without one it is taken for mm, as all do."""
    if "space units" not in fields:
        return 1.0
    units = _quoted(fields.text("space units"))
    known = {_UNITS.get(unit.lower()) for unit in units}
    if len(units) != 3 or len(known) != 1 or None in known:
        raise _unknown_units(fields, "space units", units)
    return float(known.pop() or 1.0)


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text) or text.split()


def _unknown_units(fields: HeaderFields, name: str, units: list[str]) -> RefusedVolume:
    wrong = f"measures its voxels in the {name} {ascii(' '.join(units))[:60]}, which are not known here."
    return RefusedVolume("no_spacing", fields.path, wrong, "Convert it to mm.")


def _spacing(fields: HeaderFields, first: int) -> tuple[float, ...] | None:
    matrix = _matrix(fields, first)
    if matrix is not None:
        return tuple(float(length) for length in np.linalg.norm(matrix, axis=0))
    return _spacings(fields, first) if "spacings" in fields else None


def _spacings(fields: HeaderFields, first: int) -> tuple[float, ...]:
    numbers = fields.text("spacings").split()[first : first + 3]
    try:
        return tuple(strict_float(number) for number in numbers)
    except ValueError:
        raise malformed(fields.path, "has no numbers in the field 'spacings'") from None


def _direction(fields: HeaderFields, first: int) -> np.ndarray:
    """Return the direction cosines (3, 3), column k where image axis k points in LPS."""
    matrix = _matrix(fields, first)
    if "space origin" in fields and not _is_vector(fields.text("space origin")):
        raise malformed(fields.path, "has no vector of three numbers in the field 'space origin'")
    if matrix is None:
        raise no_orientation(fields.path, "has no field 'space directions'")
    if "space" not in fields:
        raise no_orientation(fields.path, "has no field 'space'")
    signs = _SPACES.get(fields.text("space"))
    if signs is None:
        raise no_orientation(fields.path, f"lies in the space {fields.text('space')[:40]!a}, not in a patient's")
    return np.asarray(np.asarray(signs)[:, None] * matrix / np.linalg.norm(matrix, axis=0))


def _origin(fields: HeaderFields) -> list[float]:
    """Return the middle of the first voxel in mm, LPS; 0 where the header has none, as in ITK."""
    if "space origin" not in fields:
        return [0.0, 0.0, 0.0]
    signs, words = _SPACES[fields.text("space")], fields.text("space origin")[1:-1].split(",")
    return [sign * strict_float(word) * _millimetres(fields) for sign, word in zip(signs, words, strict=True)]


def _is_vector(text: str) -> bool:
    if not (text.startswith("(") and text.endswith(")")):
        return False
    words = text[1:-1].split(",")
    try:
        return len(words) == 3 and all(math.isfinite(strict_float(word)) for word in words)
    except ValueError:
        return False


def _refuse_other_axes(fields: HeaderFields, first: int, grid: Grid) -> None:
    """Refuse what says of the three axes something else than their vectors: their kinds, their spacings and units."""
    kinds = fields.text("kinds", "").split()[first : first + 3]
    odd = next((kind for kind in kinds if kind.lower() not in _SPATIAL_KINDS), None)
    if odd is not None:
        raise RefusedVolume(
            "not_a_volume",
            fields.path,
            f"has an axis of the kind {odd[:20]!a}, which does not lie in the patient.",
            "Give one volume of CT values a file.",
        )
    units = _quoted(fields.text("units", ""))[first : first + 3]
    if any(unit.lower() not in ("", "mm", "none") for unit in units):
        raise _unknown_units(fields, "units", units)
    if "spacings" in fields:
        stated = zip(_spacings(fields, first), grid.spacing[::-1], strict=False)
        if any(math.isfinite(one) and abs(one - mm) > 0.01 * mm for one, mm in stated):
            raise RefusedVolume(
                "contradictory_header",
                fields.path,
                "contradicts itself: its spacings and its space directions differ by more than 1 %.",
                "Convert it again from DICOM.",
            )


def _refuse_value_range(fields: HeaderFields) -> None:
    """Refuse `old min` and `old max`: the voxels were quantised, and are no HU as they stand."""
    if "old min" in fields or "oldmin" in fields or "old max" in fields or "oldmax" in fields:
        raise RefusedVolume(
            "intensity_function",
            fields.path,
            "states that its voxels were quantised (the field 'old min' or 'old max'), so that they are no HU.",
            "Convert it again from DICOM.",
        )


def _dtype(fields: HeaderFields) -> np.dtype:
    encoding = fields.text("encoding")
    if encoding not in _ENCODINGS:
        raise unread_encoding(fields.path, f"stores its voxels in the encoding {encoding[:20]!a}")
    code = str(fields.choice("type", _TYPES))
    if code.endswith("1"):
        return np.dtype(code)
    return np.dtype(str(fields.choice("endian", {"little": "<", "big": ">"})) + code)


def _voxels(fields: HeaderFields, stream: IO[bytes], dtype: np.dtype, grid: Grid) -> np.ndarray:
    path, count = fields.path, grid.voxels
    encoding: Encoding = fields.choice("encoding", _ENCODINGS)  # type: ignore[assignment]
    if "data file" not in fields:
        _skip(fields, path, stream, encoding, count * dtype.itemsize)
        return read_voxels(path, stream, encoding, dtype, count)
    files = existing_files(path, _file_names(fields, stream), fields.integers("sizes")[-1])
    if count % len(files):
        raise malformed(path, f"names {len(files)} files for {grid.shape[0]} slices")
    parts = []
    for file in files:
        with file.open("rb") as data:
            _skip(fields, file, data, encoding, count // len(files) * dtype.itemsize)
            parts.append(read_voxels(file, data, encoding, dtype, count // len(files)))
    return np.concatenate(parts)


def _skip(fields: HeaderFields, file: Path, stream: IO[bytes], encoding: str, length: int) -> None:
    """Move to the voxels: behind some lines, then some bytes, counted in the file as it is where that is raw."""
    lines = fields.integers("line skip", 1)[0] if "line skip" in fields else 0
    skip = fields.integers("byte skip", 1)[0] if "byte skip" in fields else 0
    if (lines or skip) and encoding != "raw":
        raise malformed(file, "skips lines or bytes of compressed voxels, which is not read here")
    for _ in range(min(lines, LONGEST_HEADER)):
        stream.readline()
    if skip == -1:
        start = file.stat().st_size - length
        if start < stream.tell():
            raise RefusedVolume("truncated", file, f"is shorter than its {length:,} bytes of voxels.", FETCH_AGAIN)
        stream.seek(start)
    elif skip < -1 or lines < 0:
        raise malformed(file, "has a negative skip in its header")
    else:
        stream.seek(skip, 1)


def _file_names(fields: HeaderFields, stream: IO[bytes]) -> list[str]:
    path, named = fields.path, fields.text("data file")
    if re.match(r"LIST\b", named):
        return listed_files(stream)
    return numbered_files(path, named)
