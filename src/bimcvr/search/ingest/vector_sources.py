"""Sources of an index's vectors: a checkpoint, or a file of embeddings."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bimcvr.contracts import Prompts
from bimcvr.data.cache.cut_lungs import cut_lungs
from bimcvr.data.cache.fill import default_folder, fill_cache
from bimcvr.data.cache.volume_cache import VolumeCache, cache_entries, source_identity
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.grid import DEFAULT_RULES, MAX_VOXELS, GridRules, NiftiForm
from bimcvr.data.reading.refused import RefusedVolume, killed_reader, refusing_denied
from bimcvr.data.reading.resample import read_resized
from bimcvr.data.trained_rows import OWN_SPLIT, UNSEEN, TrainedRows
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.metrics.prompts import prompt_sentences, prompted_labels
from bimcvr.parallel import WorkerKilled, one_thread, run_tasks
from bimcvr.search.index.cohort_mean import SMALL
from bimcvr.search.ingest.thumbnails import VolumePreview, draw_preview
from bimcvr.search.query.calibration import Embed

EMBEDDINGS = "embeddings"
"""How the identity of vectors from a file begins."""


class EmbeddedStudy:
    """The vectors of one row.

    Args:
        image: (E,) the volume's.
        text: (E,) the report's.
        preview: thumbnails and geometry; None where the volume could not be read.
    """

    def __init__(self, image: np.ndarray, text: np.ndarray, preview: VolumePreview | None) -> None:
        self.image, self.text, self.preview = image, text, preview


class VectorSource(Protocol):
    """Makes the vectors of a manifest's rows."""

    dim: int
    """E, the width of a vector."""
    lungs: dict[int, float | None]
    """Of each row that was embedded so far, the share of its lungs that a grid of given spacing cuts away."""

    def facts(self) -> dict[str, Any]:
        """Return what the vectors were made with; `identity` is the same for vectors that are comparable."""

    def volume_identities(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """Return a hash of each row's volume, and `reason: message` for each row that cannot be encoded."""

    def embed(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, EmbeddedStudy], dict[int, str]]:
        """Encode rows; returns `reason: message` for each row that cannot be encoded."""

    def embed_reports(self, manifest: Manifest, rows: Sequence[int]) -> np.ndarray:
        """Return the vectors (n, E) of the reports of n rows."""

    def volumes(self, manifest: Manifest, rows: Sequence[int]) -> tuple[ModelGrid, Iterator[np.ndarray]]:
        """Return the HU (D, H, W) of rows on a grid, without those that cannot be read now."""

    def prompts(self, labels: Sequence[frozenset[str]]) -> Prompts | None:
        """Return the prompts of the labels that the rows have, if there are any."""

    def text_encoder(self) -> Embed | None:
        """Return the text encoder, if there is one."""

    def held_out(self, manifest: Manifest, rows: np.ndarray) -> np.ndarray | None:
        """Return which rows (N,) the model was not trained on, (N,) bool; None where that is not recorded."""


class CheckpointSource:
    """Vectors made by a trained model.

    Args:
        checkpoint: the checkpoint, in its run folder.
        cache: the folder of volumes on the model's grid; `cache` beside the manifest by default.
        jobs: processes that read volumes.
        device: where the model runs.
        trust: classes, modules or packages whose code the checkpoint may run beside those of `bimcvr.parsing.trust`.
        nifti_form: what decides how a NIfTI file's voxels lie; as the checkpoint was trained by default.
        max_voxels: larger volumes are refused.
    """

    def __init__(
        self,
        checkpoint: Path,
        cache: Path | None,
        jobs: int,
        device: str | None,
        trust: Sequence[str] = (),
        nifti_form: NiftiForm | None = None,
        max_voxels: int = MAX_VOXELS,
    ) -> None:
        from bimcvr.models.embedder import Embedder

        self.model = Embedder(checkpoint, device, trust)
        self.dim, self._cache, self._jobs = self.model.dim, cache, jobs
        self.lungs: dict[int, float | None] = {}
        self._rules = GridRules(nifti_form or self.model.rules.nifti_form, max_voxels)

    def facts(self) -> dict[str, Any]:
        """Return which model it is."""
        model = self.model
        return {
            "identity": f"checkpoint {model.sha256}",
            "checkpoint": str(model.checkpoint.resolve()),
            "checkpoint_sha256": model.sha256,
            **model.names(),
            **model.grid.facts(),
            "window_hu": list(model.window),
            "nifti_form": self._rules.nifti_form,
        }

    def volume_identities(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """Return the name of each volume's cache file: a hash of source and grid."""
        entries, missing = cache_entries(manifest, np.asarray(rows, dtype=np.int64), self._folder(manifest))
        return {row: entry.stem for row, entry in entries.items()}, missing

    def embed(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, EmbeddedStudy], dict[int, str]]:
        """Read volumes through the cache and encode them."""
        if not rows:
            return {}, {}
        cache = self._folder(manifest)
        entries, refused = fill_cache(manifest, np.asarray(rows, dtype=np.int64), cache, self._jobs, quiet=True)
        previews, unreadable = _draw_all(manifest, entries, self._jobs, self._rules)
        refused |= unreadable
        readable = [row for row in rows if row in entries and row not in refused]
        if not readable:
            return {}, refused
        self.lungs |= cut_lungs(cache, {row: entries[row] for row in readable}).shares
        image = self.model.embed_volumes([cache.read(entries[row]).hu for row in readable])
        text = self.embed_reports(manifest, readable)
        return {row: EmbeddedStudy(image[i], text[i], previews[row]) for i, row in enumerate(readable)}, refused

    def embed_reports(self, manifest: Manifest, rows: Sequence[int]) -> np.ndarray:
        """Encode whole reports."""
        reports = manifest.column("report")
        return self.model.embed_texts([reports[row] for row in rows])

    def volumes(self, manifest: Manifest, rows: Sequence[int]) -> tuple[ModelGrid, Iterator[np.ndarray]]:
        """Read rows from the cache."""
        cache = self._folder(manifest)
        entries, _ = cache_entries(manifest, np.asarray(rows, dtype=np.int64), cache)
        return self.model.grid, (cache.read(entry).hu for entry in entries.values() if entry.is_file())

    def prompts(self, labels: Sequence[frozenset[str]]) -> Prompts | None:
        """Encode the prompts of every label."""
        import torch

        sentences, about, denies = prompt_sentences(prompted_labels(labels), self.model.affirm, self.model.deny)
        return Prompts(sentences, about, denies, torch.from_numpy(self.model.embed_texts(sentences)))

    def text_encoder(self) -> Embed | None:
        """Return the model's text encoder."""
        return self.model.embed_texts

    def held_out(self, manifest: Manifest, rows: np.ndarray) -> np.ndarray | None:
        """Compare the rows with those that the checkpoint names as trained on."""
        from bimcvr.data.loading.datamodule import CTReportDataModule
        from bimcvr.models.checkpoint import read_checkpoint

        state = read_checkpoint(self.model.checkpoint).get(CTReportDataModule.__qualname__, {})
        hashes = state.get("trained_rows")
        if not hashes:
            return None
        trained = TrainedRows.from_arrays({name: value.numpy() for name, value in hashes.items()})
        return np.isin(trained.seen(manifest, rows, {}), (UNSEEN, OWN_SPLIT))

    def _folder(self, manifest: Manifest) -> VolumeCache:
        return VolumeCache(self._cache or default_folder(manifest), self.model.grid, self._rules)


class EmbeddingsSource:
    """Vectors from an `.npz` file, made by any model.

    Args:
        path: the file.
        jobs: processes that read volumes for their thumbnails.
        rules: which grids are accepted.
    """

    def __init__(self, path: Path, jobs: int, rules: GridRules = DEFAULT_RULES) -> None:
        self.path, self._jobs, self._rules = path, jobs, rules
        self.lungs: dict[int, float | None] = {}
        self._embeddings = load_embeddings(path)
        self.dim = int(self._embeddings.image.shape[1])
        self._position = {study: position for position, study in enumerate(self._embeddings.study_id)}

    def facts(self) -> dict[str, Any]:
        """Return which file it is.

        The identity is a hash of study ids and vectors, the same for a copy and for a file with prompts added.
        """
        grid = self._embeddings.grid
        digest = hashlib.sha256("\0".join(self._embeddings.study_id).encode())
        for vectors in (self._embeddings.image, self._embeddings.text):
            digest.update(vectors.numpy().tobytes())
        return {
            "identity": f"{EMBEDDINGS} {digest.hexdigest()}",
            "embeddings": str(self.path.resolve()),
            **(grid.facts() if grid else dict.fromkeys(("grid", "spacing_mm", "grid_centre"))),
            "nifti_form": self._rules.nifti_form,
        }

    def volume_identities(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """Return a hash of each row's two vectors and its volume, or its vectors alone where the volume is missing."""
        studies, checksums = manifest.column("study_id"), manifest.column("sha256")
        identities, missing = {}, {}
        for row in rows:
            position = self._position.get(studies[row])
            if position is None:
                missing[row] = f"no_embedding: {self.path} has no embedding of it."
                continue
            try:
                volume = checksums[row] or source_identity(manifest.volume_path(row))
            except UserError:
                volume = "absent"
            vectors = (
                self._embeddings.image[position].numpy().tobytes() + self._embeddings.text[position].numpy().tobytes()
            )
            identities[row] = hashlib.sha256(vectors + volume.encode()).hexdigest()[:32]
        return identities, missing

    def embed(self, manifest: Manifest, rows: Sequence[int]) -> tuple[dict[int, EmbeddedStudy], dict[int, str]]:
        """Look the vectors up; a row whose volume cannot be read has no thumbnails."""
        paths = {row: manifest.volume_path(row) for row in rows}
        present = [row for row, path in paths.items() if os.path.exists(path)]
        previews, _ = _draw_all(manifest, present, self._jobs, self._rules)
        studies = manifest.column("study_id")
        positions = {row: self._position[studies[row]] for row in rows}
        image, text = self._embeddings.image.numpy(), self._embeddings.text.numpy()
        return {
            row: EmbeddedStudy(image[position], text[position], previews.get(row))
            for row, position in positions.items()
        }, {}

    def embed_reports(self, manifest: Manifest, rows: Sequence[int]) -> np.ndarray:
        """Look the reports' vectors up."""
        studies = manifest.column("study_id")
        return self._embeddings.text.numpy()[[self._position[studies[row]] for row in rows]]

    def volumes(self, manifest: Manifest, rows: Sequence[int]) -> tuple[ModelGrid, Iterator[np.ndarray]]:
        """Read rows from their sources, resized as a whole."""
        paths = {row: manifest.volume_path(row) for row in rows}
        tasks = {row: (path, self._rules) for row, path in paths.items() if os.path.exists(path)}
        read = (hu for _, hu in run_tasks(_read_small, tasks, self._jobs) if isinstance(hu, np.ndarray))
        return ModelGrid(SMALL), read

    def prompts(self, labels: Sequence[frozenset[str]]) -> Prompts | None:
        """Return the prompts of the file."""
        return self._embeddings.prompts

    def text_encoder(self) -> Embed | None:
        """Return None: a file cannot encode texts."""
        return None

    def held_out(self, manifest: Manifest, rows: np.ndarray) -> np.ndarray | None:
        """Compare the rows with those that the file names as trained on; of models of others it names none."""
        trained = self._embeddings.trained
        if trained is None:
            return None
        return np.isin(trained.seen(manifest, rows, {}), (UNSEEN, OWN_SPLIT))


def _draw_all(
    manifest: Manifest, rows: Iterable[int], jobs: int, rules: GridRules
) -> tuple[dict[int, VolumePreview], dict[int, str]]:
    tasks = {row: (manifest.volume_path(row), rules) for row in rows}
    previews, refused = {}, {}
    for row, result in run_tasks(_draw, tasks, jobs):
        refusal = killed_reader(tasks[row][0]) if isinstance(result, WorkerKilled) else result
        if isinstance(refusal, RefusedVolume):
            refused[row] = f"{refusal.reason}: {refusal}"
        else:
            previews[row] = result
    return previews, refused


def _read_small(path: Path, rules: GridRules) -> np.ndarray | None:
    try:
        with one_thread(), refusing_denied(path):
            return read_resized(path, SMALL, rules).hu
    except RefusedVolume:
        return None


def _draw(path: Path, rules: GridRules) -> VolumePreview | RefusedVolume:
    try:
        with one_thread(), refusing_denied(path):
            return draw_preview(path, rules)
    except RefusedVolume as refusal:
        return refusal
