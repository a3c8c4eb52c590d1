"""A checkpoint's content: written so that it can be read without running code, and read that way alone."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bimcvr.errors import UserError, system_problem

# callbacks keep numpy's numbers in their states; checkpoints from before `plain_numbers` have them as they are
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
_NUMPY: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd")]
for _core in ("core", "_core"):  # of numpy 1 and numpy 2
    _NUMPY += [(_SCALAR, f"numpy.{_core}.multiarray.scalar"), (_ARRAY, f"numpy.{_core}.multiarray._reconstruct")]
_KINDS: dict[str, type] = {
    "state_dict": dict,
    "hyper_parameters": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
}
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
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        _check_kinds(content)
        return {**content, "state_dict": dict(content["state_dict"])}
    except Exception as error:  # zip, pickle and a missing key each have their own
        if isinstance(error, OSError) and error.filename is not None:
            raise UserError(system_problem(error)) from error
        raise UserError(
            f"{path} cannot be read as a checkpoint of `fit` ({_reason(error)}): it is damaged, or another kind of"
            f" file. Give the checkpoints/best.ckpt of a run, or {_other(path)}."
        ) from error


def refuse_not_finite(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Refuse weights with which every figure and every embedding would be NaN.

    Args:
        path: the checkpoint.
        state: its `state_dict`.

    Raises:
        UserError: a tensor is not finite; the message names the first.
    """
    spoilt = [
        name
        for name, value in state.items()
        if name != "first_sd" and value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if spoilt:
        raise UserError(
            f"{path}: {len(spoilt)} tensors are not finite, the first {spoilt[0]}. Its training diverged: train again"
            " with a lower rate or trainer.gradient_clip_val 1.0."
        )


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, pickle.UnpicklingError):  # torch's text advises to read the file without protection
        return kind
    return f"{kind}: {next(iter(str(error).splitlines()), '')[:120]}"


def _other(path: Path) -> str:
    return (
        "take best.ckpt beside it (to train on: --init_from)"
        if path.name == "last.ckpt"
        else "take last.ckpt beside it"
    )


def _check_sums(path: Path) -> None:
    """Compare the file with its own checksums, which torch.load does not do."""
    with zipfile.ZipFile(path) as packed:
        damaged = packed.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} does not match")


def _check_kinds(content: Any) -> None:
    """Refuse a content in which Lightning would stumble over a value of another kind than it writes."""
    for name, kind in _KINDS.items():
        if not isinstance(content.get(name, kind()), kind):
            raise TypeError(f"{name} is {type(content[name]).__name__}")
    for name, value in content["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise TypeError(f"the weight {name} is {type(value).__name__}")


def refuse_unreadable(callbacks: dict[str, Any], weights: dict[str, Any]) -> None:
    """Refuse states that could be written into a checkpoint, and not be read again without running code.

    Args:
        callbacks: the states of callbacks, by name.
        weights: the model's `state_dict`.

    Raises:
        UserError: a state holds something else than tensors, numbers, texts and collections of them.
    """
    for name, state in callbacks.items():
        buffer = io.BytesIO()
        try:
            torch.save(plain_numbers(state), buffer)
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        except Exception as error:  # of pickle, torch, and of classes that refuse to be pickled
            raise UserError(
                f"trainer.callbacks: the state of {name} could not be read again from a checkpoint, which is read"
                " without running code. Let its state_dict return tensors, numbers, texts, lists and dicts alone."
            ) from error
    for name, value in weights.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(
                f"The model's state {name} is {type(value).__name__}, and a checkpoint holds tensors alone: it could"
                " not be read again. Let get_extra_state return a tensor, or leave it out."
            )


def plain_numbers(value: Any) -> Any:
    """Return a checkpoint's content with Python's numbers in the place of numpy's, which `weights_only` refuses."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {plain_numbers(key): plain_numbers(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain_numbers, value))
    return value
