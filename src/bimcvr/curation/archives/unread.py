"""Archives of kinds that cannot be read, so that none is left out silently."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bimcvr.curation.archives.unpack import SUFFIXES
from bimcvr.curation.study import SetAside

_SPLIT = re.compile(
    r"\.(z\d\d|(zip|7z|tar|tgz|gz|bz2|xz)\.(\d{2,3}|a[a-z]|part\d+)|(tgz|gz|bz2|xz|tar)a[a-z]|part\d+\.rar|r\d\d)$",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(
    r"\.(part|partial|crdownload|opdownload|download|filepart|!ut|!qb|aria2|(zip|tar|tgz|gz|bz2|xz)\.(tmp|temp))$",
    re.IGNORECASE,
)
_PACKED = re.compile(
    r"\.(7z|rar|zst|zstd|lz|lz4|lzma|lzo|lzh|br|ace|arj|cab|dmg|iso|sit|wim|zipx|z|(zip|tar|tgz)(\.\d|~)"
    r"|(csv|tsv|json|dcm)\.gz|(nii|csv|tsv|json|dcm)\.(bz2|xz))$",
    re.IGNORECASE,
)


def unread_archives(files: Iterable[Path], read: tuple[str, ...]) -> Iterator[SetAside]:
    """Yield an entry for each file that is an archive, or a part of one, but is not read.

    Args:
        files: the files of a source.
        read: the suffixes of the archives that the source reads, in lower case.
    """
    for file in files:
        name = file.name.lower()
        if name.endswith(read):
            continue
        if _SPLIT.search(name):
            message = (
                "is one part of a split archive. Join the parts: `zip -s 0 x.zip --out joined.zip` for .z01 … .zip,"
                " `cat x.zip.* > x.zip` for .001, .002 …"
            )
            yield SetAside(file.name, "split_archive", f"{file} {message}")
        elif _UNFINISHED.search(name):
            yield SetAside(file.name, "unfinished_download", f"{file} is an unfinished download. Download it again.")
        elif _PACKED.search(name) or name.endswith(SUFFIXES):
            kinds = f"reads {', '.join(read)}" if read else "reads no archives"
            yield SetAside(
                file.name,
                "unread_archive",
                f"{file} is an archive of a kind that is not read here (this source {kinds}). Unpack it beside the"
                " other files, or pack it again.",
            )
