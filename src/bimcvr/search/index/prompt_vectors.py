"""The vectors of keyword prompts, stored in the index folder so that keywords need no text encoder."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from bimcvr.atomic_files import replacing
from bimcvr.contracts import Prompts
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
        with np.load(path, allow_pickle=False) as content:
            return Prompts(
                content["sentence"].tolist(),
                content["label"].tolist(),
                content["denies"].tolist(),
                torch.from_numpy(content["vector"]),
            )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"The prompts {path} of the index are missing or damaged. Make a new index in another folder."
        ) from error
