"""Embeddings on disk: how any model, ours or a peer's, joins the benchmark."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.errors import UserError
from bimcvr.files import replacing


@dataclass(frozen=True)
class Embeddings:
    """One vector a study and stream, and optionally those of keyword prompts.

    Attributes:
        study_id: (N,) names.
        image: (N, E) float32, of the volumes.
        text: (N, E) float32, of the whole reports.
        prompt: (P,) sentences that ask for a label, or None.
        prompt_label: (P,) the label each asks for.
        prompt_embedding: (P, E) float32.
    """

    study_id: np.ndarray
    image: np.ndarray
    text: np.ndarray
    prompt: np.ndarray | None = None
    prompt_label: np.ndarray | None = None
    prompt_embedding: np.ndarray | None = None


def save_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write an `.npz` file without pickles, whole or not at all."""
    present = {name: value for name, value in vars(embeddings).items() if value is not None}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **present)


def load_embeddings(path: Path) -> Embeddings:
    """Read an `.npz` file; pickled content is refused.

    Raises:
        UserError: the file is missing, or lacks or contradicts a needed array.
    """
    if not path.is_file():
        raise UserError(f"There are no embeddings at {path}. `python -m bimcvr test` and `predict` write them.")
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in Embeddings.__dataclass_fields__ if name in content}
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays: {error}") from error
    for name in ("study_id", "image", "text"):
        if name not in arrays:
            raise UserError(f"{path} has no array '{name}'. Embeddings need study_id (N,), image (N, E) and text (N, E).")
    embeddings = Embeddings(**arrays)
    count = len(embeddings.study_id)
    if embeddings.image.shape != embeddings.text.shape or len(embeddings.image) != count or embeddings.image.ndim != 2:
        raise UserError(f"{path}: image {embeddings.image.shape} and text {embeddings.text.shape} are not both ({count}, E) for its "
                        f"{count} study_id.")
    return embeddings
