"""The parts of raw BIMCV-COVID19+: which archives hold volumes, and which are second downloads."""

import filecmp
import re
from pathlib import Path

from bimcvr.curation.archives.unpack import TAR_SUFFIXES
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.study import SetAside

# archives with tables only, as `covid19_posi_sessions_tsv.tar.gz`; the parts with volumes are `…subjects…part…` or
# `…subjects_12.tgz`
_TABLE_ARCHIVE = re.compile(r"(head|_tsv|metadata|derivative|subjects)(_iter\w+)?\.t")


def is_part(file: Path) -> bool:
    """Return whether an archive holds volumes, by its name."""
    name = file.name.lower()
    return name.endswith(TAR_SUFFIXES) and not _TABLE_ARCHIVE.search(name)


def parts_of(files: list[Path]) -> tuple[list[Path], list[SetAside]]:
    """Find the parts among some files.

    Args:
        files: the files of the archive.

    Returns:
        The parts in the order of the files, and what is set aside: second downloads, and archives of other kinds.
    """
    set_aside = list(unread_archives(files, TAR_SUFFIXES))
    parts: list[Path] = []
    # the shorter name first: of `part1.tgz` and a second download `part1 (1).tgz` the former is taken
    for file in sorted(filter(is_part, files), key=lambda file: (len(file.name), file)):
        original = next((part for part in parts if _is_copy(file, part)), None)
        if original:
            message = f"{file} has the same content as {original}, so it was left out. Delete it."
            set_aside.append(SetAside(file.name, "duplicate_archive", message))
        else:
            parts.append(file)
    return [file for file in files if file in parts], set_aside


def _is_copy(file: Path, original: Path) -> bool:
    """Return whether two files have the same content; filecmp remembers the answer until one of them changes."""
    return file.stat().st_size == original.stat().st_size > 0 and filecmp.cmp(file, original, shallow=False)
