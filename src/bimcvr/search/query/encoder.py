"""A trained model for searching: texts and volumes in, vectors out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bimcvr.atomic_files import sha256_of
from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.errors import UserError
from bimcvr.models.embedder import Embedder, FileVector, Localised

if TYPE_CHECKING:
    from bimcvr.search.index.reader import Index


class Encoder(Protocol):
    """What a `Searcher` needs of a model."""

    affirm: tuple[str, ...]
    """Prompts that affirm a keyword, with `{}` for the keyword."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of n texts, (n, E) float32."""

    def encode_file(self, path: Path) -> FileVector:
        """Return the vector (E,) of a volume file or DICOM folder, and what speaks against it."""

    def localise_vector(self, path: Path, vector: np.ndarray) -> Localised:
        """Return where in a volume file or DICOM folder the model looks for a query (E,)."""


def load_search_model(
    index: "Index",
    checkpoint: Path | None = None,
    device: str | None = None,
    needed: bool = True,
    trust: Sequence[str] = (),
) -> Embedder | None:
    """Load the model that an index was made with.

    Args:
        index: an open index.
        checkpoint: the checkpoint file; by default the one that the index names.
        device: where the model runs; by default a GPU if there is one.
        needed: whether the query needs a model; if not, one is only loaded if `checkpoint` is given.
        trust: classes, modules or packages whose code the checkpoint may run beside those of `bimcvr.parsing.trust`.

    Returns:
        The model; None if none is needed, or if the index was made from embeddings and no checkpoint is given.

    Raises:
        UserError: the checkpoint is missing, is not the one that the index was made with, or names a class that is not
            trusted.
    """
    recorded = index.facts.get("checkpoint", "")
    if not (checkpoint or (recorded and needed)):
        return None
    path = checkpoint or Path(recorded)
    if not path.is_file():
        raise UserError(
            f"The checkpoint {path} of the index {index.folder} does not exist. Say where it is now: --checkpoint FILE"
        )
    recorded_hash = index.facts.get("checkpoint_sha256")
    if recorded_hash is not None and recorded_hash != sha256_of(path):
        raise UserError(
            f"{path} is not the checkpoint that the index {index.folder} was made with: its vectors would not be"
            " comparable. Give that checkpoint with --checkpoint, or make a new index."
        )
    model = Embedder(path, device, trust)
    if index.facts.get("grid") and describe_grid(index.facts) != str(model.grid):
        raise UserError(
            f"The index {index.folder} has volumes on the grid {describe_grid(index.facts)}, but the config.yaml of"
            f" {path} says {model.grid}: a volume would not be comparable. Restore that config.yaml, or make a new"
            " index."
        )
    return model
