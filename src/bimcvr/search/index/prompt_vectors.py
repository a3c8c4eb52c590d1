"""The vectors of keyword prompts beside an index, so that keywords need no text encoder."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from bimcvr.atomic_files import replacing
from bimcvr.contracts import Prompts
from bimcvr.errors import UserError


def save_prompts(path: Path, prompts: Prompts) -> None:
    """Write prompts as an `.npz` file without pickles, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            sentence=np.array(prompts.sentence, dtype=np.str_),
            label=np.array(prompts.label, dtype=np.str_),
            denies=np.array(prompts.denies, dtype=bool),
            vector=prompts.vector.numpy(),
        )


def prompts_digest(prompts: Prompts) -> str:
    """Return the identity of prompts: files of different ones have different names."""
    texts = repr((prompts.sentence, prompts.label, prompts.denies)).encode()
    return hashlib.sha256(texts + np.ascontiguousarray(prompts.vector.numpy()).tobytes()).hexdigest()[:16]


def load_prompts(path: Path) -> Prompts:
    """Read what `save_prompts` wrote.

    Raises:
        UserError: the file is absent or damaged.
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
            f"The prompts {path} of the index are absent or damaged. Make the index anew in another folder."
        ) from error
