"""The index folder's one point of truth: `index.json` names the rows and vectors that belong together.

    index.json              the commit: table version, vector files, how many slots of them count, facts
    rows.lance/             the rows, a LanceDB table; every change makes a new version of it
    image-1.f32, text-1.f32 unit vectors, raw float32, one a slot; they only grow
    prompts-1.npz           vectors of the keywords' prompts
    writer.lock, reader.lock

A change is appended first, to the vector files behind what counts and to the table as a new version, and counts from
the moment that `index.json` is renamed into place. Killed before, the next writer cuts off what does not count.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import only_one, replacing
from bimcvr.errors import UserError

FORMAT = 1
NAME = "index.json"
TABLE = "rows"
STREAMS = ("image", "text")


@dataclass(frozen=True)
class Commit:
    """What counts of an index folder.

    Attributes:
        table_version: of the LanceDB table.
        generation: the number in the vector files' names; it rises when they are compacted.
        slots: how many vectors of each file count, dead ones included.
        count: how many studies there are.
        dim: E, the width of a vector.
        columns: the manifest's columns, in order.
        prompts: the file of prompt vectors, or empty.
        complete: whether the run that wrote it came to its end.
        facts: model, text encoder, checkpoint, manifest, split, created, commit of the code.
        calibration: what scores this index's own reports and prompts reach.
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

    def vectors(self, folder: Path, stream: str) -> Path:
        """Return the vector file of a stream."""
        return folder / f"{stream}-{self.generation}.f32"

    def write(self, folder: Path) -> None:
        """Make it the one that counts: written beside, forced to disk, renamed."""
        with replacing(folder / NAME) as temporary:
            temporary.write_text(
                json.dumps({"format": FORMAT, **asdict(self)}, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )
            force_to_disk(temporary)
        force_to_disk(folder)


def read_commit(folder: Path) -> Commit | None:
    """Return what counts of an index folder, or None where nothing has been committed.

    Raises:
        UserError: the file is no commit of this format.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written = content.pop("format")
        if written != FORMAT:
            raise UserError(
                f"{path} has the format {written}, this version of bimcvr reads {FORMAT}. Make the index anew in"
                " another folder."
            )
        return Commit(**{**content, "columns": tuple(content["columns"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not the file of an index ({type(error).__name__}). Make the index anew in another folder."
        ) from error


def writing(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock that one writer has.

    Raises:
        UserError: another process is writing.
    """
    return only_one(
        folder / "writer.lock", f"Another process is writing to the index {folder}. Wait until it has ended, or end it."
    )


def hold_for_reading(folder: Path) -> int | None:
    """Hold a snapshot's files against reclaiming.

    Returns:
        A handle to `os.close`; None where the folder is read-only and no writer has left a lock in it.
    """
    path = folder / "reader.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        # whoever may only read the folder (a service's user) holds the lock all the same
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


@contextlib.contextmanager
def without_readers(folder: Path) -> Iterator[bool]:
    """Yield whether no reader is there; while the block runs none can come."""
    with (folder / "reader.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def force_to_disk(path: Path) -> None:
    """Have the system write a file or folder through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
