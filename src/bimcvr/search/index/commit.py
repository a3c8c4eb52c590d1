"""The commit of an index folder: `index.json` names the rows and vectors that belong together.

    index.json              the commit: table version, vector files, how many of their slots are valid, facts
    rows.lance/             the rows, a LanceDB table; every change makes a new version of it
    image-1.f32, text-1.f32 unit vectors, raw float32, one a slot; they only grow
    prompts-1.npz           vectors of the keywords' prompts
    writer.lock, reader.lock

A change is appended first, to the vector files after the committed slots and to the table as a new version. It takes
effect when `index.json` is renamed into place. What a run that was killed before that has written is cut off by the
next writer.
"""

import contextlib
import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import NO_LOCKS, force_to_disk, only_one, replacing
from bimcvr.errors import UserError

FORMAT = 1
NAME = "index.json"
TABLE = "rows"
STREAMS = ("image", "text")
_BLOCK = 2**20
# how Rust's errors end
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class Commit:
    """The committed state of an index folder.

    Attributes:
        table_version: of the LanceDB table.
        generation: the number in the vector files' names; it increases when they are compacted.
        slots: how many vectors of each file are valid, those of deleted and replaced studies included.
        count: how many studies there are.
        dim: E, the width of a vector.
        columns: the manifest's columns, in order.
        prompts: the file of prompt vectors, or empty.
        complete: whether the run that wrote it finished.
        facts: model, text encoder, checkpoint, manifest, split, created, commit of the code.
        calibration: the scores that queries made of this index's own data reach.
        checksums: stream → CRC-32 of the valid slots of its vector file; empty where an older version has made them.
    """

    table_version: int
    generation: int
    slots: int
    count: int
    dim: int
    columns: tuple[str, ...]
    prompts: str = ""
    complete: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)

    def vector_file(self, folder: Path, stream: str) -> Path:
        """Return the vector file of a stream (`image` or `text`)."""
        return folder / f"{stream}-{self.generation}.f32"

    def check_vectors(self, folder: Path) -> None:
        """Compare the vector files with their checksums; 100,000 vectors of width 512 take 0.2 s a file.

        Raises:
            UserError: a file has changed since it was written.
        """
        for stream, checksum in self.checksums.items():
            path, found, left = self.vector_file(folder, stream), 0, self.slots * self.dim * 4
            with path.open("rb") as file:
                while left > 0 and (block := file.read(min(left, _BLOCK))):
                    found, left = zlib.crc32(block, found), left - len(block)
            if found != checksum:
                raise UserError(
                    f"The vectors {path} are damaged (their checksum is not the one in {NAME}): its answers would be"
                    " wrong. Make a new index in another folder."
                )

    def write(self, folder: Path) -> None:
        """Commit: write beside the old commit, force to disk, rename over it."""
        with replacing(folder / NAME) as temporary:
            temporary.write_text(
                json.dumps({"format": FORMAT, **asdict(self)}, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )
            force_to_disk(temporary)
        force_to_disk(folder)


def read_commit(folder: Path) -> Commit | None:
    """Read the commit of an index folder.

    Args:
        folder: the index folder.

    Returns:
        The commit; None where nothing has been committed.

    Raises:
        UserError: the file is not a commit of this format.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written = content.pop("format")
        if written != FORMAT:
            raise UserError(
                f"{path} has format {written}; this version of bimcvr reads format {FORMAT}. Make a new index in"
                " another folder."
            )
        _check_kinds(content)
        return Commit(**{**content, "columns": tuple(content["columns"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged or not part of an index ({type(error).__name__}). Make a new index in another folder."
        ) from error


def _check_kinds(content: dict[str, Any]) -> None:
    """Refuse a value that is not of the kind that `Commit.write` writes."""
    for name in ("table_version", "generation", "slots", "count", "dim"):
        if type(content[name]) is not int or content[name] < 0:
            raise ValueError(name)
    for name, kind in (("columns", list), ("prompts", str), ("complete", bool), ("facts", dict), ("calibration", dict)):
        if not isinstance(content[name], kind):
            raise TypeError(name)
    checksums = content.get("checksums", {})
    if not isinstance(checksums, dict) or not set(checksums) <= set(STREAMS):
        raise ValueError("checksums")
    if not all(type(value) is int for value in checksums.values()):
        raise TypeError("checksums")
    if (
        not all(isinstance(column, str) for column in content["columns"])
        or Path(content["prompts"]).name != (content["prompts"])
    ):
        raise ValueError("columns or prompts")


@contextlib.contextmanager
def hold_for_writing(folder: Path) -> Iterator[None]:
    """Hold the writer's lock of an index folder.

    Args:
        folder: the index folder.

    Raises:
        UserError: another process is writing, or the file system has no locks.
        OSError: in the block, a write failed, LanceDB's included; it names a path.
    """
    in_use = f"Another process is writing to the index {folder}. Wait until it has finished, or stop it."
    with only_one(folder / "writer.lock", in_use), naming_system_errors(folder):
        yield


@contextlib.contextmanager
def naming_system_errors(folder: Path) -> Iterator[None]:
    """Turn LanceDB's RuntimeError of a refusal by the system into its OSError, and name the folder where none is.

    Args:
        folder: the index folder.

    Raises:
        OSError: the system refused something in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(folder)
        raise
    except RuntimeError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error


def hold_for_reading(folder: Path) -> int | None:
    """Keep writers from erasing files of a snapshot.

    Args:
        folder: the index folder.

    Returns:
        A file handle, to be closed with `os.close`; None where the folder is read-only and has no lock file, and where
        the file system has no locks.
    """
    path = folder / "reader.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        # a user who may only read the folder (a service's) can hold the lock all the same
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError as error:
        os.close(handle)
        if error.errno not in NO_LOCKS:
            raise
        return None
    return handle


@contextlib.contextmanager
def without_readers(folder: Path) -> Iterator[bool]:
    """Yield whether there is no reader; while the block runs no reader can start."""
    with (folder / "reader.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
