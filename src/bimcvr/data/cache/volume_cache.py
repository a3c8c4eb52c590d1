"""The cache of volumes on the model's grid: one file for each volume, written whole or not at all.

A file has the raw little-endian int16 voxels (HU, C order), followed by one line of JSON (size, spacing, source
geometry, checksum; for a grid of given spacing also the share of the lungs outside). Its name is a hash of the source
and of every setting that affects the voxels, so an entry whose source or settings have changed is never found.
"""

import hashlib
import json
import os
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bimcvr.atomic_files import replacing
from bimcvr.data.hu.model_grid import ModelGrid, Size
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.refused import RefusedVolume, refusing_denied
from bimcvr.data.reading.volume import data_files
from bimcvr.errors import UserError

# increase it whenever reading or resampling gives other voxels than before, or refuses what was accepted
PIPELINE_VERSION = 4


class CachedVolume(NamedTuple):
    """A volume on the model's grid: `hu` int16 (D, H, W), `spacing` in mm (D, H, W), `geometry` of the source."""

    hu: np.ndarray
    spacing: tuple[float, float, float]
    geometry: dict[str, Any]


class VolumeCache:
    """A folder of volumes on one grid.

    Args:
        folder: where the files are; may be shared between runs and machines, and is made when first written to.
        grid: the model's grid.
        rules: which source grids are accepted.
    """

    def __init__(self, folder: Path, grid: ModelGrid, rules: GridRules = DEFAULT_RULES) -> None:
        self.folder = folder
        self.grid = grid
        self.rules = rules

    @property
    def size(self) -> Size:
        """The voxels of the grid, (D, H, W)."""
        return self.grid.size

    def entry(self, source: Path, sha256: str = "") -> Path:
        """Return the cache file of a source, which need not exist yet.

        Args:
            source: a volume file or a DICOM folder.
            sha256: checksum of the source if known; else `source_identity` is used.

        Raises:
            UserError: there is no such file or folder.
        """
        identity = sha256 or source_identity(source)
        settings = f"{PIPELINE_VERSION}|{self.size}{self.grid.identity}{self.rules.identity}"
        key = hashlib.sha256(f"{settings}|{identity}".encode()).hexdigest()
        return self.folder / key[:2] / f"{key[2:34]}.ct"

    def put(self, source: Path, entry: Path) -> None:
        """Read a source onto the grid and write it to the cache.

        Args:
            source: a volume file or a DICOM folder.
            entry: the cache file, from `entry()`.

        Raises:
            RefusedVolume: the source is not a regular volume in HU.
        """
        from bimcvr.data.reading.resample import read_on_grid

        volume = read_on_grid(source, self.grid, self.rules)
        self.write(entry, volume.hu, volume.spacing, asdict(volume.geometry), volume.lungs_outside)

    def write(
        self,
        entry: Path,
        hu: np.ndarray,
        spacing: tuple[float, float, float],
        geometry: dict[str, Any],
        lungs_outside: float | None = 0.0,
    ) -> None:
        """Write a volume that is on the grid to the cache.

        Args:
            entry: the cache file, from `entry()`.
            hu: int16 (D, H, W).
            spacing: mm along (D, H, W).
            geometry: the record of the source grid.
            lungs_outside: the share of the lungs that the grid cuts away.
        """
        voxels = np.ascontiguousarray(hu, dtype="<i2").tobytes()
        record: dict[str, Any] = {
            "size": self.size,
            "spacing": spacing,
            "crc32": zlib.crc32(voxels),
            "geometry": geometry,
        }
        if self.grid.spacing is not None:
            record["lungs_outside"] = lungs_outside
        with replacing(entry) as temporary:
            temporary.write_bytes(voxels + json.dumps(record).encode())

    def read(self, entry: Path, verify: bool = False) -> CachedVolume:
        """Return a cached volume.

        Args:
            entry: the cache file, from `entry()`.
            verify: compare the voxels with their checksum.

        Raises:
            UserError: the file is not what was written.
        """
        with entry.open("rb", buffering=0) as stream:
            content = bytearray(os.fstat(stream.fileno()).st_size)  # the voxels may be written to, as torch wants them
            read = stream.readinto(content)
        if read != len(content):
            raise _damaged(entry)
        split = 2 * int(np.prod(self.size))
        try:
            record = json.loads(content[split:])
            hu = np.frombuffer(content, dtype="<i2", count=split // 2).reshape(self.size)
        except ValueError as error:
            raise _damaged(entry) from error
        if verify and zlib.crc32(content[:split]) != record["crc32"]:
            raise UserError(
                f"The cached volume {entry} fails its checksum. Delete it: it is made again from its source."
            )
        depth, height, width = record["spacing"]
        return CachedVolume(hu, (depth, height, width), record["geometry"])

    def identity(self, entry: Path) -> str:
        """Return what identifies the voxels of a cached volume on this grid, without reading them.

        Args:
            entry: the cache file, from `entry()`.
        """
        record = self._record(entry)
        return f"{self.size} {record['spacing']} {record['crc32']}"

    def lungs_outside(self, entry: Path) -> float | None:
        """Return the share of the lungs that the grid cuts away from a cached volume; None if no lungs were found.

        Args:
            entry: the cache file, from `entry()`.
        """
        share: float | None = self._record(entry).get("lungs_outside", 0.0)
        return share

    def _record(self, entry: Path) -> dict[str, Any]:
        with entry.open("rb") as stream:
            stream.seek(2 * int(np.prod(self.size)))
            try:
                record: dict[str, Any] = json.loads(stream.read())
            except ValueError as error:
                raise _damaged(entry) from error
        return record


def _damaged(entry: Path) -> UserError:
    return UserError(f"The cached volume {entry} is damaged. Delete it: it is made again from its source.")


def cache_entries(manifest: Manifest, rows: np.ndarray, cache: VolumeCache) -> tuple[dict[int, Path], dict[int, str]]:
    """Return the cache file of each row.

    Args:
        manifest: the dataset.
        rows: positions in it.
        cache: the cache.

    Returns:
        The cache file of each row whose source exists, and for each other row `missing_file: message` or
        `no_access: message`.
    """
    entries: dict[int, Path] = {}
    missing: dict[int, str] = {}
    checksums = manifest.column("sha256")
    for row in rows.tolist():
        try:
            entries[row] = cache.entry(manifest.volume_path(row), checksums[row])
        except RefusedVolume as refusal:
            missing[row] = f"{refusal.reason}: {refusal}"
        except UserError as error:
            missing[row] = f"missing_file: {error}"
    return entries, missing


def source_identity(source: Path) -> str:
    """Return text that identifies a source without a checksum: names, sizes and times of its files, and sampled bytes.

    The files are those of a DICOM folder, or the volume file and the files that its header names.

    Args:
        source: a volume file or a DICOM folder.

    Raises:
        UserError: there is no such file or folder.
        RefusedVolume: it may not be read.
    """
    with refusing_denied(source):
        return _identity_of(source)


def _identity_of(source: Path) -> str:
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.is_file())
        if not files:
            raise UserError(f"The DICOM folder {source} is empty.")
    elif source.is_file():
        files = [source, *data_files(source)]
    else:
        raise UserError(
            f"There is no volume at {source}. Correct the `volume` column, or give the folder that it is relative "
            "to as data.root (for verbs: --root)."
        )
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"{stats}|{_sample(files[0])}|{_sample(files[-1])}"


def _sample(path: Path, length: int = 65536) -> str:
    """Return a hash of a file's beginning, middle and end: two scans with the same name and time differ there."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for start in (0, (size - length) // 2, size - length):
            stream.seek(max(0, start))
            digest.update(stream.read(length))
    return digest.hexdigest()
