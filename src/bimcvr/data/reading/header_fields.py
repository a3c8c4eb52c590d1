"""Fields of a text header, read strictly: a misspelt, doubled or malformed field is an error, never a default."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from bimcvr.data.reading.file_checks import check_present
from bimcvr.data.reading.refused import FETCH_AGAIN, RefusedVolume

LONGEST_HEADER = 1 << 20
"""Bytes of a header that are read at most."""
_MOST_FILES = 1 << 16
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE)


class HeaderFields:
    """The fields of one header.

    Args:
        path: the file, for messages.
        fields: name → value, as written.
    """

    def __init__(self, path: Path, fields: Mapping[str, str]) -> None:
        self.path, self._fields = path, fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str, default: str | None = None) -> str:
        """Return a field as it is written.

        Raises:
            RefusedVolume: `unreadable`, the field is absent and has no default.
        """
        value = self._fields.get(name, default)
        if value is None:
            raise malformed(self.path, f"has no field '{name}' in its header")
        return value

    def choice(self, name: str, choices: Mapping[str, object], default: str | None = None) -> object:
        """Return what a field's value stands for.

        Raises:
            RefusedVolume: `unreadable`, the value is none of the choices.
        """
        value = self.text(name, default)
        if value not in choices:
            raise malformed(self.path, f"has the value '{value[:40]}' in the field '{name}', which is not known here")
        return choices[value]

    def integers(self, name: str, count: int | None = None) -> tuple[int, ...]:
        """Return a field's whole numbers.

        Args:
            name: the field.
            count: how many there have to be.
        """
        words = self.text(name).split()
        if not words or not all(word.lstrip("+-").isdigit() and word.isascii() and len(word) < 20 for word in words):
            raise malformed(self.path, f"has no whole numbers in the field '{name}'")
        return self._counted(name, [int(word) for word in words], count)  # type: ignore[return-value]

    def numbers(self, name: str, count: int | None = None, finite: bool = True) -> tuple[float, ...]:
        """Return a field's numbers.

        Args:
            name: the field.
            count: how many there have to be.
            finite: whether all of them have to be finite.
        """
        try:
            values = [strict_float(word) for word in self.text(name).split()]
        except ValueError:
            raise malformed(self.path, f"has no numbers in the field '{name}'") from None
        if finite and not all(map(math.isfinite, values)):
            raise malformed(self.path, f"has a value that is not finite in the field '{name}'")
        return self._counted(name, values, count)

    def _counted(self, name: str, values: Sequence[float], count: int | None) -> tuple[float, ...]:
        if count is not None and len(values) != count:
            raise malformed(self.path, f"has {len(values)} numbers in the field '{name}', which takes {count}")
        return tuple(values)


def existing_files(path: Path, names: Sequence[str], slices: int) -> list[Path]:
    """Return the data files that a header names.

    Args:
        path: the header's file; names are relative to its folder.
        names: one file, or one a slice.
        slices: of the volume.

    Raises:
        RefusedVolume: `missing_file` for one that is not there; `truncated` where their number is not that of the
            slices; `unreadable` where one is named twice; `empty_file`, `git_lfs_pointer`.
    """
    repeated = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if repeated is not None:
        raise malformed(path, f"names the data file {repeated[:80]!a} for several slices")
    if len(names) not in (1, slices):
        raise RefusedVolume(
            "truncated", path, f"lists {len(names)} data files for {slices} slices.", "Copy all files of the volume."
        )
    files = [path.parent / name for name in names]
    for name, file in zip(names, files, strict=True):
        if not _is_file(file):
            raise RefusedVolume(
                "missing_file",
                path,
                f"keeps its voxels in {name[:80]!a}, which is not beside it.",
                "Copy the header and its data files together.",
            )
        check_present(file)
    return files


def files_beside(path: Path, names: Sequence[str]) -> list[Path]:
    """Return those of a header's data files that exist.

    Args:
        path: the header's file.
        names: relative to its folder.
    """
    return [file for name in names if _is_file(file := path.parent / name)]


def listed_files(stream: IO[bytes]) -> list[str]:
    """Return the names of a LIST, one a line, from where the stream stands to its end.

    Args:
        stream: the header's file, behind the field that says LIST.
    """
    lines = stream.read(LONGEST_HEADER).decode("utf-8", errors="surrogateescape").splitlines()
    return [line.strip() for line in lines if line.strip()]


def numbered_files(path: Path, named: str) -> list[str]:
    """Return the names that a pattern `slice%03d.raw first last step` stands for; the name itself if it is none.

    Args:
        path: the header's file, for messages.
        named: the field's value.

    Raises:
        RefusedVolume: `unreadable`, the pattern is no range.
    """
    pattern = re.fullmatch(r"(.*%0?\d*[dui][^%]*?)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(?:\s+\d+)?", named)
    if pattern is None:
        return [named]
    first, last, step = (int(pattern[group]) for group in (2, 3, 4))
    if not step or abs(last - first) > _MOST_FILES:
        raise malformed(path, "names its data files by a pattern that is no range")
    return [pattern[1] % number for number in range(first, last + (1 if step > 0 else -1), step)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def strict_float(word: str) -> float:
    """Return a number; Python itself also takes `0_7` for 7, and the digits of any script.

    Raises:
        ValueError: it is none.
    """
    if not _NUMBER.fullmatch(word.strip()):
        raise ValueError("not a number")
    return float(word)


def unread_encoding(path: Path, what: str) -> RefusedVolume:
    """Return the refusal of a sound file whose voxels are stored in a way that is not read here."""
    remedy = "Write it again with raw or gzipped voxels (SimpleITK does)."
    return RefusedVolume("unreadable", path, f"{what}, which is not read here.", remedy)


def malformed(path: Path, what: str) -> RefusedVolume:
    """Return the refusal of a file whose header says something else than it should."""
    return RefusedVolume("unreadable", path, f"{what}.", FETCH_AGAIN)
