"""Where an index's vectors come from: a checkpoint, or a file of embeddings."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.data.cache.fill import default_folder, fill_cache
from bimcvr.data.cache.volume_cache import VolumeCache, cache_entries, source_identity
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.metrics.prompts import prompt_sentences, prompted_labels
from bimcvr.parallel import one_thread
from bimcvr.search.ingest.thumbnails import VolumePreview, draw_preview
from bimcvr.search.query.calibration import Embed

EMBEDDINGS = "embeddings"
"""What the identity of vectors from a file begins with."""


class EmbeddedStudy:
    """A row that was embedded: its two vectors, and its pictures where the volume could be read."""

    def __init__(self, image: np.ndarray, text: np.ndarray, pictures: VolumePreview | None) -> None:
        self.image, self.text, self.pictures = image, text, pictures


class VectorSource(Protocol):
    """What makes vectors of a manifest's rows."""

    dim: int

    def facts(self) -> dict[str, Any]:
        """Say what the vectors are of; `identity` differs where they could not stand in one index."""

    def volume_identities(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """Return what stands for each row's volume, and for the rows that cannot be embedded `reason: message`."""

    def embed(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, EmbeddedStudy], dict[int, str]]:
        """Embed some rows; for those that cannot be, `reason: message`."""

    def embed_reports(self, manifest: Manifest, rows: Sequence[int]) -> np.ndarray:
        """Return the vectors (n, E) of some rows' reports alone."""

    def prompts(self, labels: Sequence[frozenset[str]]) -> Prompts | None:
        """Return the prompts of the labels that rows bear."""

    def text_encoder(self) -> Embed | None:
        """Return what embeds texts, if there is such."""


class CheckpointSource:
    """Vectors by a trained retriever.

    Args:
        checkpoint: in its run's folder.
        cache: the folder of volumes on the model's grid; beside the manifest by default.
        jobs: processes that read volumes.
        device: where the model runs.
    """

    def __init__(self, checkpoint: Path, cache: Path | None, jobs: int, device: str | None) -> None:
        from bimcvr.search.query.encoder import SearchModel

        self.model = SearchModel(checkpoint, device)
        self.dim, self._cache, self._jobs = self.model.dim, cache, jobs

    def facts(self) -> dict[str, Any]:
        """Say which model it is."""
        model = self.model
        return {
            "identity": f"checkpoint {model.sha256}",
            "checkpoint": str(model.checkpoint.resolve()),
            "checkpoint_sha256": model.sha256,
            **model.names(),
            "grid": list(model.size),
            "window_hu": list(model.window),
        }

    def volume_identities(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """The name of its cache file: a hash of source and grid."""
        entries, missing = cache_entries(manifest, np.asarray(rows, dtype=np.int64), self._folder(manifest))
        return {row: entry.stem for row, entry in entries.items()}, missing

    def embed(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, EmbeddedStudy], dict[int, str]]:
        """Read volumes through the cache and embed them."""
        if not rows:
            return {}, {}
        cache = self._folder(manifest)
        entries, refused = fill_cache(manifest, np.asarray(rows, dtype=np.int64), cache, self._jobs, quiet=True)
        pictures, unreadable = _draw_all(manifest, entries, self._jobs)
        refused |= unreadable
        good = [row for row in rows if row in entries and row not in refused]
        if not good:
            return {}, refused
        image = self.model.embed_volumes([cache.read(entries[row]).hu for row in good])
        text = self.embed_reports(manifest, good)
        return {row: EmbeddedStudy(image[i], text[i], pictures[row]) for i, row in enumerate(good)}, refused

    def embed_reports(self, manifest: Manifest, rows: Sequence[int]) -> np.ndarray:
        """Embed whole reports."""
        reports = manifest.column("report")
        return self.model.embed_texts([reports[row] for row in rows])

    def prompts(self, labels: Sequence[frozenset[str]]) -> Prompts | None:
        """Embed the prompts of every label."""
        import torch

        sentences, of, denies = prompt_sentences(prompted_labels(labels), self.model.affirm, self.model.deny)
        return Prompts(sentences, of, denies, torch.from_numpy(self.model.embed_texts(sentences)))

    def text_encoder(self) -> Embed | None:
        """The model's."""
        return self.model.embed_texts

    def _folder(self, manifest: Manifest) -> VolumeCache:
        return VolumeCache(self._cache or default_folder(manifest), self.model.size)


class EmbeddingsSource:
    """Vectors from anybody's `.npz` file.

    Args:
        path: the file.
        jobs: processes that read volumes, for their pictures.
    """

    def __init__(self, path: Path, jobs: int) -> None:
        self.path, self._jobs = path, jobs
        self._embeddings = load_embeddings(path)
        self.dim = int(self._embeddings.image.shape[1])
        self._place = {study: place for place, study in enumerate(self._embeddings.study_id)}

    def facts(self) -> dict[str, Any]:
        """Say which file it is; its identity is a hash of names and vectors,.

        So that a copy, or one with prompts added, is the same.
        """
        digest = hashlib.sha256("\0".join(self._embeddings.study_id).encode())
        for vectors in (self._embeddings.image, self._embeddings.text):
            digest.update(vectors.numpy().tobytes())
        return {"identity": f"{EMBEDDINGS} {digest.hexdigest()}", "embeddings": str(self.path.resolve())}

    def volume_identities(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """A hash of the two vectors and of the volume, where it is there."""
        studies, checksums = manifest.column("study_id"), manifest.column("sha256")
        found, missing = {}, {}
        for row in rows:
            place = self._place.get(studies[row])
            if place is None:
                missing[row] = f"no_embedding: {self.path} has no embedding of it."
                continue
            try:
                volume = checksums[row] or source_identity(manifest.volume_path(row))
            except UserError:
                volume = "absent"
            vectors = self._embeddings.image[place].numpy().tobytes() + self._embeddings.text[place].numpy().tobytes()
            found[row] = hashlib.sha256(vectors + volume.encode()).hexdigest()[:32]
        return found, missing

    def embed(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, EmbeddedStudy], dict[int, str]]:
        """Look the vectors up; a row whose volume cannot be read has no pictures."""
        paths = {row: manifest.volume_path(row) for row in rows}
        pictures, _ = _draw_all(manifest, [row for row, path in paths.items() if path.exists()], self._jobs)
        studies = manifest.column("study_id")
        places = {row: self._place[studies[row]] for row in rows}
        image, text = self._embeddings.image.numpy(), self._embeddings.text.numpy()
        return {row: EmbeddedStudy(image[place], text[place], pictures.get(row)) for row, place in places.items()}, {}

    def embed_reports(self, manifest: Manifest, rows: Sequence[int]) -> np.ndarray:
        """Look them up."""
        studies = manifest.column("study_id")
        return self._embeddings.text.numpy()[[self._place[studies[row]] for row in rows]]

    def prompts(self, labels: Sequence[frozenset[str]]) -> Prompts | None:
        """Return those of the file."""
        return self._embeddings.prompts

    def text_encoder(self) -> Embed | None:
        """None: a file embeds nothing."""
        return None


def _draw_all(manifest: Manifest, rows: Iterable[int], jobs: int) -> tuple[dict[int, VolumePreview], dict[int, str]]:
    from joblib import Parallel, delayed

    rows = list(rows)
    tasks = (delayed(_draw)(manifest.volume_path(row)) for row in rows)
    found = dict(zip(rows, Parallel(n_jobs=jobs if len(rows) > 8 else 1)(tasks), strict=True))
    good = {row: result for row, result in found.items() if not isinstance(result, str)}
    return good, {row: result for row, result in found.items() if isinstance(result, str)}


def _draw(path: Path) -> VolumePreview | str:
    try:
        with one_thread():
            return draw_preview(path)
    except RefusedVolume as refusal:
        return f"{refusal.reason}: {refusal}"
