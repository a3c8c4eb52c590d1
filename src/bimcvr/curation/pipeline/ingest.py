"""Taking in one study: its checksum, the facts of its volume, its denoised copy and its volume on the model's grid.

All of it is kept under what identifies the file, so nothing is done twice: a killed run goes on, and a second one does
nothing.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import sha256_of, write_json
from bimcvr.curation.audit.facts_cache import measure_one
from bimcvr.curation.pipeline.denoise import Denoise
from bimcvr.curation.study import SourceStudy
from bimcvr.data.cache.volume_cache import Grid, VolumeCache, source_identity
from bimcvr.data.reading.refused import RefusedVolume


@dataclass(frozen=True)
class Recipe:
    """What is made of each volume.

    Attributes:
        out: the folder of the curated archive.
        size: the model's grid; None to cache nothing.
        denoise: the filter; None for none.
    """

    out: Path
    size: Grid | None = None
    denoise: Denoise | None = None

    @property
    def identity(self) -> str:
        """All that decides what is made."""
        return f"{self.size}|{self.denoise.identity if self.denoise else ''}"

    @property
    def facts(self) -> Path:
        """Where facts of volumes are kept."""
        return self.out / "facts"

    def kept(self, taken: "Taken") -> Path | None:
        """Return where a study's volume on the grid is, or will be; None without a cache."""
        return VolumeCache(self.out / "cache", self.size).entry(Path(), taken.sha256) if self.size else None


@dataclass(frozen=True)
class Taken:
    """A study that was taken in.

    Attributes:
        study: as the source gave it.
        volume: the file that the manifest names, relative to the out folder: the archive's, or its denoised copy.
        sha256: that file's checksum.
        source_sha256: the archive's own file's.
        refused: the reader's reason for refusing it; empty if it can be read.
        message: the refusal in one line.
    """

    study: SourceStudy
    volume: str
    sha256: str
    source_sha256: str
    refused: str = ""
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"study": asdict(self.study) | {"volume": str(self.study.volume)}}

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Taken":
        """Return what `to_json` wrote."""
        study = record["study"] | {
            "volume": Path(record["study"]["volume"]),
            "labels": tuple(record["study"]["labels"]),
        }
        return Taken(**record | {"study": SourceStudy(**study)})


def take_in(study: SourceStudy, recipe: Recipe) -> Taken:
    """Do for one study what has not been done: never raises for a volume that cannot be used."""
    source = study.volume
    note = _note(source, recipe)
    sums = _read(note)
    original = sums.get("source_sha256") or checksum(source)
    volume, sha256, refusal = source, original, None
    try:
        facts = measure_one(source, original, recipe.facts)
        refusal = facts if isinstance(facts, RefusedVolume) else None
        if recipe.denoise and not refusal:
            volume = recipe.out / "denoised" / original[:2] / f"{_hash(original + recipe.denoise.identity)}.nii.gz"
            if not volume.exists():
                recipe.denoise.write(source, volume)
            sha256 = sums.get("sha256") or checksum(volume)
        if recipe.size and not refusal:
            _keep(VolumeCache(recipe.out / "cache", recipe.size), volume, sha256)
    except RefusedVolume as error:
        volume, sha256, refusal = source, original, error
    if not sums:
        write_json(note, {"source_sha256": original, "sha256": sha256})
    reason, message = (refusal.reason, str(refusal)) if refusal else ("", "")
    return Taken(study, Path(os.path.relpath(volume, recipe.out)).as_posix(), sha256, original, reason, message)


def checksum(volume: Path) -> str:
    """Return the sha256 of a file, or of the names and contents of a folder's files."""
    if volume.is_file():
        return sha256_of(volume)
    files = sorted(path for path in volume.iterdir() if path.is_file())
    return _hash("".join(f"{path.name} {sha256_of(path)}\n" for path in files))


def _keep(cache: VolumeCache, volume: Path, sha256: str) -> None:
    entry = cache.entry(volume, sha256)
    if not entry.exists():
        import SimpleITK

        # the parallelism is over volumes
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        cache.put(volume, entry)


def _note(source: Path, recipe: Recipe) -> Path:
    key = _hash(f"{source_identity(source)}|{recipe.denoise.identity if recipe.denoise else ''}")
    return recipe.out / "taken" / key[:2] / f"{key[2:34]}.json"


def _read(note: Path) -> dict[str, str]:
    try:
        record: dict[str, str] = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
