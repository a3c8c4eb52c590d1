"""The bytes of a tar, decompressed by what its first bytes say, whatever its name is."""

import bz2
import lzma
from typing import IO, Any

from isal import igzip


def decompressed(raw: IO[bytes]) -> IO[bytes] | Any:
    """Return a stream of the tar's bytes.

    Args:
        raw: the file at its beginning: a plain tar, or one packed with gzip, bzip2 or xz.
    """
    head = raw.read(6)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return igzip.IGzipFile(fileobj=raw)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(raw)
    return raw
