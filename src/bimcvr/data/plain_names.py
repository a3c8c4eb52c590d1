r"""Paths whose names are in no encoding: SimpleITK ends the process on them, and text files cannot hold them.

Linux allows any bytes in a name, such as a folder named in Latin-1 (`t\xf3rax`). Python reads such bytes as surrogate
characters, which cannot be encoded.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bimcvr.data.reading.refused import RefusedVolume, escaped
from bimcvr.data.reading.volume import data_files


def is_plain(path: Path | str) -> bool:
    """Return whether a path can be written as UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def has_plain_names(volume: Path) -> bool:
    """Return whether the path of a volume, and for a DICOM folder the names of its slices, are plain."""
    return is_plain(volume) and not (volume.is_dir() and not all(map(is_plain, os.listdir(volume))))


def link_plainly(volume: Path, folder: Path) -> Path:
    """Link a volume under a plain name: a file with what its header names, or each slice of a DICOM folder.

    Args:
        volume: a volume file or a DICOM folder.
        folder: the folder for the links; made if it does not exist.

    Returns:
        The link, or the folder with the links of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (volume.name if is_plain(volume.name) else _replaced(volume.name))
    if not volume.is_dir():
        _link(volume, target)
        for file in data_files(volume):
            _link(file, folder / file.relative_to(volume.parent))
        return target
    target.mkdir(exist_ok=True)
    for number, name in enumerate(sorted(os.listdir(volume))):
        # the suffix says what the file is, and a hidden file stays hidden
        hidden = "." if name.startswith(".") else ""
        plain = name if is_plain(name) else f"{hidden}{number:05d}-{_replaced(name)}"
        _link(volume / name, target / plain)
    return target


def _replaced(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", escaped(name))


@contextlib.contextmanager
def plainly_named(volume: Path) -> Iterator[Path]:
    """Yield a path under which any library can read a volume: its own, or that of temporary links.

    Args:
        volume: a volume file or a DICOM folder.

    Raises:
        RefusedVolume: raised inside the block, with the volume's own path in the message.
    """
    if has_plain_names(volume):
        yield volume
        return
    with tempfile.TemporaryDirectory(prefix="bimcvr-") as folder:
        try:
            yield link_plainly(volume, Path(folder))
        except RefusedVolume as refusal:
            reason, _, wrong, remedy = refusal.args
            raise RefusedVolume(reason, escaped(volume), wrong, remedy) from refusal


def _link(file: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        link.symlink_to(file.absolute())
