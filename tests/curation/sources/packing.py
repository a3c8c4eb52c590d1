"""Zips and tars made from names and contents, for the tests of unpacking."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

NOISE = np.random.default_rng(0).integers(0, 256, 300_000).astype(np.uint8).tobytes()
MEMBERS = {"a/one.bin": NOISE[:200_000], "a/b/two.bin": NOISE[100_000:], "three.txt": b"hola", "empty.bin": b""}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, members: dict[str, bytes], *odd: tarfile.TarInfo) -> Path:
    mode = {".tar": "w", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w:gz")
    with tarfile.open(path, mode) as packed:  # type: ignore[call-overload]
        for info in odd:
            packed.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def odd_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PACKERS = [(make_zip, "x.zip"), *((make_tar, f"x.tar{suffix}") for suffix in ("", ".gz", ".bz2", ".xz"))]
Packer = Callable[[Path, dict[str, bytes]], Path]
