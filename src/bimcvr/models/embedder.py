"""A trained retriever from its checkpoint: texts and volumes in, vectors out."""

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bimcvr.atomic_files import sha256_of
from bimcvr.data.cache.cut_lungs import LITTLE
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.hu.placement import Placement
from bimcvr.data.reading.grid import GridRules
from bimcvr.errors import UserError
from bimcvr.parsing.trust import only_trusted
from bimcvr.presets import read_yaml
from bimcvr.run_folder import config_beside

if TYPE_CHECKING:
    from torch import Tensor

    from bimcvr.data.reading.volume import Volume
    from bimcvr.models.localisation.relevance import Relevance
    from bimcvr.models.localisation.spread import SourceMap
    from bimcvr.models.retriever import Retriever


class FileVector(NamedTuple):
    """The vector (E,) of a volume file, and a sentence on what the model does not see of it; usually empty."""

    vector: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class Localised:
    """Where in a volume a model looks for a query.

    Attributes:
        relevance: of the parts of the volume for one query (`bimcvr.models.localisation.relevance`).
        placement: where the model's grid lies on the source, and the source in the patient.
        spacing: mm of the model's grid along slices, rows, columns.
        rules: which source grids were accepted.
        note: what the model does not see of the volume; usually empty.
    """

    relevance: "Relevance"
    placement: Placement
    spacing: tuple[float, float, float]
    rules: GridRules
    note: str = ""

    @functools.cached_property
    def map(self) -> "SourceMap":
        """The relevance of each voxel of the source; above 0 a voxel speaks for the query, below 0 against it."""
        from bimcvr.models.localisation.spread import SourceMap

        return SourceMap.of(self.relevance.values[0], self.relevance.grid, self.placement)

    @property
    def score(self) -> float:
        """The cosine of the volume and the query."""
        return float(self.relevance.score[0])

    @property
    def token_mm(self) -> tuple[float, float, float]:
        """The size of the parts that the map is made of, mm along slices, rows, columns."""
        up, back, across = (mm * voxels for mm, voxels in zip(self.spacing, self.relevance.token, strict=True))
        return up, back, across


class Embedder:
    """A trained `Retriever`, loaded from its checkpoint, in evaluation mode and float32.

    Args:
        checkpoint: the file, inside its run folder, whose `config.yaml` has the grid and the window of the training.
        device: where the model runs; by default a GPU if there is one.
        trust: classes, modules or packages whose code the checkpoint may run beside those of `bimcvr.parsing.trust`.

    Raises:
        UserError: the checkpoint or the config is missing or cannot be read, or names a class that is not trusted.
    """

    def __init__(self, checkpoint: Path, device: str | None = None, trust: Sequence[str] = ()) -> None:
        import torch

        from bimcvr.contracts import DataGrid
        from bimcvr.models.part_checks import check_grid

        self.checkpoint = checkpoint
        self.grid, self.window, self.rules = _grid_of(checkpoint)
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            torch.empty(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"--device {device}: there is no such device here. Give cpu, or cuda with a GPU."
            ) from error
        self.retriever = _load(checkpoint, trust).to(self.device)
        check_grid(self.retriever.volume_encoder, DataGrid(self.grid.size, self.grid.spacing, self.window))
        self.affirm: tuple[str, ...] = tuple(self.retriever.prompts)
        self.deny: tuple[str, ...] = tuple(self.retriever.denials)

    @functools.cached_property
    def sha256(self) -> str:
        """The SHA-256 of the checkpoint, which identifies the weights."""
        return sha256_of(self.checkpoint)

    @property
    def dim(self) -> int:
        """E, the width of a vector."""
        return int(self.retriever.embed_dim)

    def names(self) -> dict[str, str]:
        """Return the names of the two encoders, by `volume_encoder` and `text_encoder`."""
        from bimcvr.models.evaluation_loop import part_name

        return {name: part_name(getattr(self.retriever, name)) for name in ("volume_encoder", "text_encoder")}

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of n texts, (n, E) float32; each text is encoded as a whole, as in training."""
        return np.asarray(self.retriever.embed_texts(list(texts)).numpy())

    def limit_text_cache(self, count: int) -> None:
        """Keep the vectors of at most `count` texts or sentences in memory: queries are rarely repeated."""
        from bimcvr.models.text.base import FrozenTextEncoder

        for part in self.retriever.modules():
            if isinstance(part, FrozenTextEncoder):
                part.cache_size = min(part.cache_size, count)

    def embed_volumes(self, hu: Sequence[np.ndarray]) -> np.ndarray:
        """Return the vectors of n volumes, (n, E) float32.

        Args:
            hu: n volumes on the model's grid, int16 (D, H, W) in HU.

        Returns:
            The vectors.
        """
        import torch

        from bimcvr.data.loading.views import apply_window

        batch: Tensor = torch.stack([apply_window(volume, self.window) for volume in hu])[:, None]
        with torch.inference_mode():
            return self.retriever.embed_volume(batch.to(self.device)).cpu().numpy()

    def embed_file(self, path: Path) -> np.ndarray:
        """Return the vector (E,) of a volume file or DICOM folder, read onto the grid of the training.

        Args:
            path: the file or folder.

        Returns:
            The vector.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
        """
        encoded = self.encode_file(path)
        if encoded.note:
            warnings.warn(encoded.note, stacklevel=2)
        return encoded.vector

    def encode_file(self, path: Path) -> FileVector:
        """Return the vector of a volume file or DICOM folder, and what speaks against it.

        Args:
            path: the file or folder.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
        """
        volume = self.read(path)
        return FileVector(self.embed_volumes([volume.hu])[0], self._unseen(volume))

    def localise(self, path: Path, text: str) -> Localised:
        """Return where in a volume file or DICOM folder the model looks for a text.

        Args:
            path: the file or folder.
            text: what is looked for; encoded as a whole, as reports are.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
            UserError: no map can be made of this encoder.
        """
        return self.localise_vector(path, self.embed_texts([text])[0])

    def localise_vector(self, path: Path, vector: np.ndarray) -> Localised:
        """Return where in a volume file or DICOM folder the model looks for a query that is encoded already.

        Args:
            path: the file or folder.
            vector: (E,), of a text, of prompts, or of another volume.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
            UserError: no map can be made of this encoder.
        """
        import torch

        from bimcvr.data.loading.views import apply_window
        from bimcvr.models.localisation.relevance import relevance

        volume = self.read(path)
        seen = apply_window(volume.hu, self.window)[None, None].to(self.device)
        query = torch.from_numpy(np.asarray(vector, dtype=np.float32))[None]
        found = relevance(self.retriever, seen, query)
        return Localised(found, volume.placement, volume.spacing, self.rules, self._unseen(volume))

    def _unseen(self, volume: "Volume") -> str:
        share = volume.lungs_outside
        if share is None or share <= LITTLE:
            return ""
        return f"{share:.0%} of the lungs lie outside the model's grid ({self.grid}) and are not seen."

    def read(self, path: Path) -> "Volume":
        """Read a volume file or DICOM folder onto the grid of the training.

        Args:
            path: the file or folder.

        Returns:
            The volume; `lungs_outside` says how much of the lungs a grid of given spacing does not show.

        Raises:
            RefusedVolume: it is not a regular volume in HU.
        """
        from bimcvr.data.reading.resample import read_on_grid

        return read_on_grid(path, self.grid, self.rules)


def load_retriever(checkpoint: Path, trust: Sequence[str] = ()) -> "Retriever":
    """Build the model that a checkpoint describes, with its weights, on the CPU.

    Args:
        checkpoint: the file.
        trust: classes, modules or packages that it may name beside those of `bimcvr.parsing.trust`.

    Raises:
        UserError: it cannot be read, or names a class that is not trusted.
        Exception: whatever the arguments or shapes of another version make the classes raise.
    """
    from bimcvr.models.checkpoint import read_checkpoint, refuse_not_finite
    from bimcvr.models.retriever import Retriever

    content = read_checkpoint(checkpoint)
    refuse_not_finite(checkpoint, content["state_dict"])
    with warnings.catch_warnings(), only_trusted(checkpoint, content, trust):
        warnings.filterwarnings("ignore", message=".*is an instance of `nn.Module` and is already saved.*")
        return Retriever.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)


def _load(checkpoint: Path, trust: Sequence[str]) -> "Retriever":
    try:
        return load_retriever(checkpoint, trust).eval()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{checkpoint} is not a checkpoint of `fit` that this version can read ({type(error).__name__}). Give the "
            "checkpoints/best.ckpt of a run."
        ) from error


def _grid_of(checkpoint: Path) -> tuple[ModelGrid, tuple[float, float], GridRules]:
    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint at {checkpoint}. Give the checkpoints/best.ckpt of a run.")
    config = config_beside(str(checkpoint))
    if config is None:
        raise UserError(
            f"{checkpoint} is not inside a run folder, whose config.yaml has the grid and the window of the training."
            " Keep config.yaml in the folder above the checkpoint's."
        )
    content = read_yaml(config)
    try:
        depth, height, width = map(int, content["data"]["size"])
        # runs of before there were spacings have none
        spacing = content["data"].get("spacing")
        grid = ModelGrid((depth, height, width), spacing and tuple(spacing), content["data"].get("centre", "volume"))
        low, high = map(float, content["data"]["window"])
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(
            f"{config} does not say with which grid and window the model was trained (data.size, data.window). Take the"
            " config.yaml that `fit` wrote."
        ) from error
    # runs of before these settings have the defaults
    rules = {name: content["data"][name] for name in GridRules._fields if name in content["data"]}
    return grid, (low, high), GridRules(**rules)
