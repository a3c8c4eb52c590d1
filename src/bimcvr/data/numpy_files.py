"""NumPy's files from anywhere: a header is held against the file's size before anything is unpacked; no pickles."""

import ast
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from bimcvr.decompression_bombs import is_bomb
from bimcvr.errors import UserError, system_problem

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000


class UnreadableArrays(ValueError):
    """A file that is no NumPy file of plain arrays; the message says why, as a part of a sentence."""


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an `.npz` file.

    Args:
        path: the file.

    Returns:
        The arrays by name.

    Raises:
        UserError: the system does not let it be read.
        UnreadableArrays: it is damaged, another kind of file, unpacks to suspiciously much, or has pickles.
    """
    if not path.is_file():
        raise UnreadableArrays("there is no such file")
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                is_array = stream.read(len(_MAGIC)) == _MAGIC
            raise UnreadableArrays("a single array" if is_array else "it is no zip archive")
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
            if is_bomb(sum(member.file_size for member in members), path.stat().st_size):
                raise UnreadableArrays("it unpacks to far more than embeddings do")
            return {member.filename.removesuffix(".npy"): _member(packed, member) for member in members}
    except Exception as error:
        raise _unreadable(error) from error


def read_npy(path: Path) -> np.ndarray:
    """Read an `.npy` file.

    Args:
        path: the file.

    Raises:
        UserError: the system does not let it be read.
        UnreadableArrays: it is damaged, another kind of file, or has pickles.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) == b"PK\x03\x04":
                raise UnreadableArrays("an .npz archive")
            stream.seek(0)
            return _array(stream, path.stat().st_size)
    except Exception as error:
        raise _unreadable(error) from error


def _member(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with packed.open(member) as stream:
        return _array(stream, member.file_size)


def _array(stream: IO[bytes], size: int) -> np.ndarray:
    """Read an array whose header and values are `size` bytes together."""
    start = stream.read(8)
    if start[:6] != _MAGIC:
        raise UnreadableArrays("it lacks NumPy's mark")
    form = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(form, stream.read(struct.calcsize(form)))
    if length > _LONGEST_HEADER:
        raise UnreadableArrays("its header is damaged")
    header: dict[str, Any] = ast.literal_eval(stream.read(length).decode("utf-8" if start[6] == 3 else "latin-1"))
    kind, shape = np.dtype(header["descr"]), tuple(int(side) for side in header["shape"])
    if kind.hasobject:
        raise UnreadableArrays("it holds objects (pickles)")
    count = int(np.prod(shape, dtype=object))
    if min(shape, default=1) < 0 or count * kind.itemsize != size - 8 - struct.calcsize(form) - length:
        raise UnreadableArrays(f"its header says {shape} of {kind}, which is not what it holds")
    if not count * kind.itemsize:
        return np.zeros(shape, kind)
    values = np.frombuffer(bytearray(stream.read(count * kind.itemsize)), dtype=kind, count=count)
    return values.reshape(shape, order="F" if header["fortran_order"] else "C")


def _unreadable(error: Exception) -> Exception:
    """Return the error to raise; zipfile, its decoders and the header's parser raise many kinds on damaged bytes."""
    if isinstance(error, UnreadableArrays):
        return error
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return UserError(system_problem(error))
    if isinstance(error, MemoryError):
        return UnreadableArrays("it does not fit into this machine's memory")
    return UnreadableArrays(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
