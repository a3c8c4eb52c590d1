"""The vectors of keyword prompts, stored in the index folder so that keywords need no text encoder."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from bimcvr.atomic_files import replacing
from bimcvr.contracts import Prompts
from bimcvr.data.numpy_files import UnreadableArrays, read_npz
from bimcvr.errors import UserError


def save_prompts(path: Path, prompts: Prompts) -> None:
    """Write prompts atomically as an `.npz` file without pickles."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            sentence=np.array(prompts.sentence, dtype=np.str_),
            label=np.array(prompts.label, dtype=np.str_),
            denies=np.array(prompts.denies, dtype=bool),
            vector=prompts.vector.numpy(),
        )


def prompts_digest(prompts: Prompts) -> str:
    """Return a hash of prompts and their vectors, which names their file."""
    texts = repr((prompts.sentence, prompts.label, prompts.denies)).encode()
    return hashlib.sha256(texts + np.ascontiguousarray(prompts.vector.numpy()).tobytes()).hexdigest()[:16]


def load_prompts(path: Path) -> Prompts:
    """Read a file that `save_prompts` wrote.

    Args:
        path: the file.

    Returns:
        The prompts.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        content = read_npz(path)
        sentence, label, denies, vector = (content[name] for name in ("sentence", "label", "denies", "vector"))
        count = len(vector)
        if not (
            sentence.shape == label.shape == denies.shape == (count,)
            and (sentence.dtype.kind, label.dtype.kind, denies.dtype.kind) == ("U", "U", "b")
            and vector.dtype == np.float32
            and vector.ndim == 2
            and np.isfinite(vector).all()
        ):
            raise UnreadableArrays("its arrays do not fit together")
    except (UnreadableArrays, KeyError, TypeError) as error:
        raise UserError(
            f"The prompts {path} of the index are missing or damaged ({error}). Make a new index in another folder."
        ) from error
    return Prompts(sentence.tolist(), label.tolist(), denies.tolist(), torch.from_numpy(vector))
