"""Write the files of a layout: in folders by hard links, or in zip and tar shards as they are downloaded."""

import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Literal

from isal import igzip

# (shard, path in the layout, file or content); the shard's suffix says how it is packed, an empty one is not packed
PackedFile = tuple[str, str, Path | bytes]


def write_layout(root: Path, items: list[PackedFile], packing: Literal["folders", "shards"]) -> None:
    """Write a layout's files.

    Beside tar shards goes what the real archive has: a listing each (`….tar-tvf.txt`), and `sha1sum.txt`.

    Args:
        root: the layout's folder.
        items: its files.
        packing: `folders` ignores the shards' names.
    """
    root.mkdir(parents=True)
    shards: dict[str, list[tuple[str, Path | bytes]]] = defaultdict(list)
    for shard, path, content in items:
        shards[shard if packing == "shards" else ""].append((path, content))
    sums = []
    for shard, files in shards.items():
        if not shard:
            for path, content in files:
                _write_file(content, root / path)
        elif shard.endswith(".zip"):
            _zip(root / shard, files)
        else:
            _tar(root / shard, files)
            with (root / shard).open("rb") as stream:
                sums.append(
                    f"{hashlib.file_digest(stream, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()}  {shard}\n"
                )
    if sums:
        (root / "sha1sum.txt").write_text("".join(sums), encoding="utf-8")


def _write_file(content: Path | bytes, target: Path) -> None:
    if isinstance(content, Path):
        link_or_copy(content, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _zip(target: Path, files: list[tuple[str, Path | bytes]]) -> None:
    with zipfile.ZipFile(target, "w") as packed:
        for path, content in files:
            # the date is fixed, so that the same cohort gives the same bytes
            member = zipfile.ZipInfo(path, (2021, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED if path.endswith(".csv") else zipfile.ZIP_STORED
            packed.writestr(member, content.read_bytes() if isinstance(content, Path) else content)


def _tar(target: Path, files: list[tuple[str, Path | bytes]]) -> None:
    lines = []
    # volumes are compressed already
    with (
        igzip.IGzipFile(target, "wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path, content in files:
            raw = content.read_bytes() if isinstance(content, Path) else content
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(raw), 1609459200
            tar.addfile(member, io.BytesIO(raw))
            lines.append(f"-rw-r--r-- 0/0 {len(raw):>12} 2021-01-01 00:00 {path}\n")
    target.with_name(target.name + ".tar-tvf.txt").write_text("".join(lines), encoding="utf-8")


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file to a second name, or copy it where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
