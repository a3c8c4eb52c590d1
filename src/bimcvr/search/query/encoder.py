"""A trained retriever as the search uses it: texts and volumes in, vectors out."""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bimcvr.atomic_files import sha256_of
from bimcvr.errors import UserError
from bimcvr.run_folder import config_beside

if TYPE_CHECKING:
    from torch import Tensor

    from bimcvr.models.retriever import Retriever
    from bimcvr.search.index.reader import Index


class Encoder(Protocol):
    """What a `Searcher` needs of a model."""

    affirm: tuple[str, ...]
    """Sentences that ask for a keyword, with `{}` in its place."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, E)."""

    def embed_file(self, path: Path) -> np.ndarray:
        """Return the vector (E,) of a volume file or DICOM folder."""


class SearchModel:
    """A retriever from its checkpoint, in evaluation mode and float32.

    Args:
        checkpoint: the file; the run's `config.yaml` lies in the folder above it and says which grid and window it was
            trained on.
        device: where it runs; a GPU where there is one by default.

    Raises:
        UserError: checkpoint or config are absent, or cannot be read.
    """

    def __init__(self, checkpoint: Path, device: str | None = None) -> None:
        import torch

        self.checkpoint = checkpoint
        self.size, self.window = _grid_of(checkpoint)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.retriever = _load(checkpoint).to(self.device)
        self.affirm: tuple[str, ...] = tuple(self.retriever.prompts)
        self.deny: tuple[str, ...] = tuple(self.retriever.denials)

    @functools.cached_property
    def sha256(self) -> str:
        """The identity of the weights: the checksum of the checkpoint."""
        return sha256_of(self.checkpoint)

    @property
    def dim(self) -> int:
        """E, the width of a vector."""
        return int(self.retriever.embed_dim)

    def names(self) -> dict[str, str]:
        """Return how the two encoders are called."""
        from bimcvr.models.evaluation_loop import part_name

        return {name: part_name(getattr(self.retriever, name)) for name in ("volume_encoder", "text_encoder")}

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, E); each text is read as in training, whole."""
        return np.asarray(self.retriever.embed_texts(list(texts)).numpy())

    def remember(self, count: int) -> None:
        """Keep the vectors of at most so many texts or sentences in memory: those of queries hardly come again."""
        from bimcvr.models.text.base import FrozenTextEncoder

        for part in self.retriever.modules():
            if isinstance(part, FrozenTextEncoder):
                part.cache_size = min(part.cache_size, count)

    def embed_volumes(self, hu: Sequence[np.ndarray]) -> np.ndarray:
        """Return float32 (n, E) of volumes on the model's grid, int16 (D, H, W) in HU."""
        import torch

        from bimcvr.data.loading.views import apply_window

        batch: Tensor = torch.stack([apply_window(volume, self.window) for volume in hu])[:, None]
        with torch.inference_mode():
            return self.retriever.embed_volume(batch.to(self.device)).cpu().numpy()

    def embed_file(self, path: Path) -> np.ndarray:
        """Return the vector (E,) of a volume file or DICOM folder.

        Raises:
            RefusedVolume: it is no regular volume in HU.
        """
        from bimcvr.data.reading.resample import read_resized

        vector: np.ndarray = self.embed_volumes([read_resized(path, self.size).hu])[0]
        return vector


def _load(checkpoint: Path) -> "Retriever":
    import pickle

    from bimcvr.models.retriever import Retriever

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is an instance of `nn.Module` and is already saved.*")
            return Retriever.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True).eval()
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{checkpoint} is not a checkpoint of `fit` that this version reads ({type(error).__name__}). Give the "
            "checkpoints/best.ckpt of a run."
        ) from error


def _grid_of(checkpoint: Path) -> tuple[tuple[int, int, int], tuple[float, float]]:
    import yaml

    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint at {checkpoint}. Give the checkpoints/best.ckpt of a run.")
    config = config_beside(str(checkpoint))
    if config is None:
        raise UserError(
            f"{checkpoint} does not lie in a run's folder: its config.yaml says which grid and window it was trained"
            " on. Keep config.yaml in the folder above the checkpoint's."
        )
    data: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    depth, height, width = map(int, data["size"])
    low, high = map(float, data["window"])
    return (depth, height, width), (low, high)


def load_search_model(
    index: "Index", checkpoint: Path | None = None, device: str | None = None, needed: bool = True
) -> SearchModel | None:
    """Load the model that an index was made with.

    Args:
        index: an open index.
        checkpoint: where the model lies now; where the index was made by default.
        device: where it runs.
        needed: load it; else only if a checkpoint is named.

    Returns:
        The model; None where none is needed, or the index was made from embeddings and no checkpoint is named.

    Raises:
        UserError: the checkpoint is gone, or is not the one that the index was made with.
    """
    known = index.facts.get("checkpoint", "")
    if not (checkpoint or (known and needed)):
        return None
    path = checkpoint or Path(known)
    if not path.is_file():
        raise UserError(
            f"The checkpoint {path} of the index {index.folder} is not there. Name where it lies now: --checkpoint FILE"
        )
    model = SearchModel(path, device)
    wanted = index.facts.get("checkpoint_sha256", model.sha256)
    if wanted != model.sha256:
        raise UserError(
            f"{path} is not the checkpoint that the index {index.folder} was made with: its vectors would not be"
            " comparable. Name that one with --checkpoint, or make a new index."
        )
    return model
