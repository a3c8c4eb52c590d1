"""Ingesting one study: checksum, facts of the volume, denoised copy, and the volume resampled to the model's grid.

Every result is stored under an identifier of its file, so nothing is done twice: a killed run resumes where it stopped,
and a second run does nothing.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import sha256_of, write_json
from bimcvr.curation.audit.facts_cache import measure_cached
from bimcvr.curation.pipeline.denoise import Denoise
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.cache.volume_cache import VolumeCache, source_identity
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.plain_names import has_plain_names, is_plain, link_plainly
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.reading.refused import RefusedVolume, refusing_denied
from bimcvr.parallel import one_thread


@dataclass(frozen=True)
class IngestSettings:
    """What is made of each volume, and where it is stored.

    Attributes:
        out: the folder of the curated archive.
        grid: the model's grid; None to cache no volumes.
        denoise: the filter; None for none.
        rules: which grids of volumes are accepted.
    """

    out: Path
    grid: ModelGrid | None = None
    denoise: Denoise | None = None
    rules: GridRules = DEFAULT_RULES

    @property
    def identity(self) -> str:
        """Text that changes whenever the stored results would."""
        grid = f"{self.grid.size}{self.grid.identity}" if self.grid else None
        return f"{grid}|{self.denoise.identity if self.denoise else ''}{self.rules.identity}"

    @property
    def facts(self) -> Path:
        """The folder of the volumes' facts."""
        return self.out / "facts"

    def cached_volume(self, ingested: "IngestedStudy") -> Path | None:
        """Return where a study's resampled volume is, or will be, stored; None without a cache."""
        return self.cache(self.grid).entry(Path(), ingested.sha256) if self.grid else None

    def cache(self, grid: ModelGrid) -> VolumeCache:
        """Return the folder of resampled volumes."""
        return VolumeCache(self.out / "cache", grid, self.rules)


@dataclass(frozen=True)
class IngestedStudy:
    """A study whose volume was checked, measured and stored.

    Attributes:
        study: the study as the source returned it.
        volume: the file that the manifest names, relative to the out folder: the archive's file or its denoised copy.
        sha256: the checksum of that file.
        source_sha256: the checksum of the archive's file.
        refused: the reader's reason for refusing the volume; empty if it can be read.
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
    def from_json(record: dict[str, Any]) -> "IngestedStudy":
        """Return what `to_json` wrote."""
        study = record["study"] | {
            "volume": Path(record["study"]["volume"]),
            "labels": tuple(record["study"]["labels"]),
            # records of earlier versions have none
            "regions": tuple((region, text) for region, text in record["study"].get("regions", ())),
        }
        return IngestedStudy(**record | {"study": SourceStudy(**study)})


def ingest_study(study: SourceStudy, settings: IngestSettings) -> IngestedStudy | SetAside:
    """Do for one study what has not been done yet.

    A volume that cannot be used raises nothing: the result's `refused` and `message` say why. One that may not be read
    is set aside.

    Args:
        study: the study, whose volume is on disk.
        settings: what is made of the volume.
    """
    study = _with_plain_names(study, settings)
    source = study.volume
    try:
        with refusing_denied(source):
            checksum_file = _checksum_file(source, settings)
            stored = _read_json(checksum_file)
            original = stored.get("source_sha256") or checksum(source)
    except RefusedVolume as refused:
        return SetAside(study.study_id, refused.reason, str(refused))
    volume, sha256, refusal = source, original, None
    try:
        facts = measure_cached(source, original, settings.facts, settings.rules)
        refusal = facts if isinstance(facts, RefusedVolume) else None
        if settings.denoise and not refusal:
            name = _hash(original + settings.denoise.identity + settings.rules.identity)
            volume = settings.out / "denoised" / original[:2] / f"{name}.nii.gz"
            if not volume.exists():
                settings.denoise.write(source, volume, settings.rules)
            sha256 = stored.get("sha256") or checksum(volume)
        if settings.grid and not refusal:
            _cache_volume(settings.cache(settings.grid), volume, sha256)
    except RefusedVolume as error:
        volume, sha256, refusal = source, original, error
    if not stored:
        write_json(checksum_file, {"source_sha256": original, "sha256": sha256})
    reason, message = (refusal.reason, str(refusal)) if refusal else ("", "")
    return IngestedStudy(study, _relative(volume, settings), sha256, original, reason, message)


def _relative(volume: Path, settings: IngestSettings) -> str:
    return Path(os.path.relpath(volume, settings.out)).as_posix()


def _with_plain_names(study: SourceStudy, settings: IngestSettings) -> SourceStudy:
    """Link a volume whose name is in no encoding below the out folder, so that the manifest can name it."""
    volume = study.volume
    if has_plain_names(volume) or (is_plain(os.path.relpath(volume, settings.out)) and not volume.is_dir()):
        return study
    folder = settings.out / "links" / hashlib.sha256(os.fsencode(volume.absolute())).hexdigest()[:16]
    return replace(study, volume=link_plainly(volume, folder))


def checksum(volume: Path) -> str:
    """Return the sha256 of a file, or of the names and contents of a folder's files."""
    if volume.is_file():
        return sha256_of(volume)
    files = sorted(path for path in volume.iterdir() if path.is_file())
    return _hash("".join(f"{path.name} {sha256_of(path)}\n" for path in files))


def _cache_volume(cache: VolumeCache, volume: Path, sha256: str) -> None:
    entry = cache.entry(volume, sha256)
    if not entry.exists():
        with one_thread():
            cache.put(volume, entry)


def _checksum_file(source: Path, settings: IngestSettings) -> Path:
    filtered = settings.denoise.identity + settings.rules.identity if settings.denoise else ""
    key = _hash(f"{source_identity(source)}|{filtered}")
    return settings.out / "checksums" / key[:2] / f"{key[2:34]}.json"


def _read_json(path: Path) -> dict[str, str]:
    try:
        record: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _hash(text: str) -> str:
    # file names may be in no valid encoding
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
