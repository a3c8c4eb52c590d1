"""A checkpoint's content: written so that it can be read without running code, and read that way alone."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bimcvr.errors import UserError

# callbacks keep numpy's numbers in their states; checkpoints from before `plain_numbers` have them as they are
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
_NUMPY: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd")]
for _core in ("core", "_core"):  # of numpy 1 and numpy 2
    _NUMPY += [(_SCALAR, f"numpy.{_core}.multiarray.scalar"), (_ARRAY, f"numpy.{_core}.multiarray._reconstruct")]
torch.serialization.add_safe_globals(_NUMPY)


def read_checkpoint(path: Path, mmap: bool = True) -> dict[str, Any]:
    """Read a checkpoint of `fit`; no code in it is run.

    Args:
        path: the file.
        mmap: leave the tensors on disk until they are used.

    Raises:
        UserError: it is absent, damaged, or holds something else than tensors, numbers and texts.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint at {path}. Give the checkpoints/best.ckpt of a run.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        return {**content, "state_dict": dict(content["state_dict"])}
    except Exception as error:  # zip, pickle and a missing key each have their own
        raise UserError(
            f"{path} cannot be read as a checkpoint of `fit` ({type(error).__name__}): it is damaged, or another kind"
            " of file. Give the checkpoints/best.ckpt of a run, or take last.ckpt beside it."
        ) from error


def plain_numbers(value: Any) -> Any:
    """Return a checkpoint's content with Python's numbers in the place of numpy's, which `weights_only` refuses."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {plain_numbers(key): plain_numbers(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain_numbers, value))
    return value
