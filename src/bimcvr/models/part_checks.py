"""Checks that a model's parts keep their contracts (`bimcvr.contracts`), with messages that name class and shapes.

They compare shapes only: they draw no random numbers and run nothing, so that every batch can be checked.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bimcvr.contracts import DataGrid, Features, TakesGrid
from bimcvr.errors import UserError
from bimcvr.models.pretrained.frozen import with_hidden


def check_dim(part: nn.Module, option: str) -> None:
    """Check that an encoder says how long its vectors are.

    Args:
        part: the volume or text encoder.
        option: where the configuration names it, such as `model.volume_encoder`.

    Raises:
        UserError: it has no positive whole number `dim`.
    """
    if any(isinstance(parameter, nn.parameter.UninitializedParameter) for parameter in part.parameters()):
        raise UserError(
            f"{named(part, option)} has layers whose size its first input decides (torch's Lazy modules): no optimiser"
            " and no checkpoint can hold them before. Give their sizes in its constructor."
        )
    dim = getattr(part, "dim", None)
    if not isinstance(dim, int) or dim < 1:
        found = "has no attribute `dim`" if dim is None else f"has `dim` = {dim!r}"
        raise UserError(
            f"{named(part, option)} {found}: set `self.dim` in its constructor to the length of the vectors that it"
            " returns, a whole number."
        )


def check_learns(encoder: nn.Module, option: str, *features: Tensor) -> None:
    """Check in a training step that exactly what an encoder registers as trainable is trained.

    Args:
        encoder: the volume or text encoder.
        option: where the configuration names it.
        features: its outputs.

    Raises:
        UserError: it trains tensors that no checkpoint would hold, or none of its trainable parameters.
    """
    if not (encoder.training and torch.is_grad_enabled()):
        return
    trainable = any(parameter.requires_grad for parameter in encoder.parameters())
    learns = any(value.requires_grad for value in features)
    if learns and not trainable:
        raise UserError(
            f"{named(encoder, option)} trains tensors that are no parameters of it: no optimiser would change them and"
            " no checkpoint hold them. Assign its layers as attributes, or put them into an nn.ModuleList."
        )
    if trainable and not learns:
        raise UserError(
            f"{named(encoder, option)} has trainable parameters, and its output does not depend on them: nothing of it"
            " would be trained. Compute it without `detach` and `torch.no_grad`, or freeze them"
            " (requires_grad_(False))."
        )


def run_part(part: nn.Module, option: str, *inputs: Any) -> Any:
    """Run a part, and name it where it fails.

    Args:
        part: the part.
        option: where the configuration names it.
        inputs: what it is given.

    Raises:
        UserError: it fails, other than for memory.
    """
    try:
        return part(*inputs)
    except (UserError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        given = ", ".join(
            f"Features(cls={tuple(item.cls.shape)}, tokens={tuple(item.tokens.shape)})"
            if isinstance(item, Features)
            else describe(item)
            for item in inputs
        )
        raise UserError(
            f"{named(part, option)} failed on {given}: {type(error).__name__}:"
            f" {' '.join(str(error).split())[:300]}. docs/howto/model.md says what each part is given and returns."
        ) from error


def check_grid(encoder: nn.Module, grid: DataGrid) -> None:
    """Tell a volume encoder that reads volumes of one grid only, or holds such a one, what the data's are like.

    Args:
        encoder: the encoder.
        grid: of the data.

    Raises:
        UserError: it was made for another grid.
    """
    for part in with_hidden(encoder):
        if isinstance(part, TakesGrid):
            part.accept_grid(grid)


def check_features(encoder: nn.Module, features: object, batch: int, dim: int) -> None:
    """Check what a volume encoder returned.

    Args:
        encoder: the encoder.
        features: its output.
        batch: B, the number of volumes that it was given.
        dim: C, the encoder's `dim`.

    Raises:
        UserError: it is not Features(cls=(B, C), tokens=(B, N, C)).
    """
    expected = f"Features(cls=({batch}, {dim}), tokens=({batch}, N, {dim}))"
    if not isinstance(features, Features) or not _floats(features.cls, features.tokens):
        raise UserError(_message(encoder, "model.volume_encoder", describe(features), expected, batch, "volumes"))
    cls, tokens = tuple(features.cls.shape), tuple(features.tokens.shape)
    if cls != (batch, dim) or len(tokens) != 3 or (tokens[0], tokens[2]) != (batch, dim):
        found = f"Features(cls={cls}, tokens={tokens})"
        raise UserError(_message(encoder, "model.volume_encoder", found, expected, batch, "volumes"))


def check_text_features(encoder: nn.Module, features: object, batch: int, dim: int) -> None:
    """Check what a text encoder returned.

    Args:
        encoder: the encoder.
        features: its output.
        batch: B, the number of texts that it was given.
        dim: E, the encoder's `dim`.

    Raises:
        UserError: it is not a tensor (B, E).
    """
    if not isinstance(features, Tensor) or not _floats(features) or tuple(features.shape) != (batch, dim):
        raise UserError(
            _message(encoder, "model.text_encoder", describe(features), f"a tensor ({batch}, {dim})", batch, "texts")
        )


def check_tokens(fusion: nn.Module, tokens: object, batch: int, dim: int) -> None:
    """Check what a fusion returned.

    Args:
        fusion: the fusion.
        tokens: its output.
        batch: B, the number of volumes.
        dim: C, the volume encoder's `dim`.

    Raises:
        UserError: it is not a tensor (B, M, C).
    """
    shape = tuple(tokens.shape) if isinstance(tokens, Tensor) and _floats(tokens) else ()
    if len(shape) != 3 or not shape[1] or (shape[0], shape[2]) != (batch, dim):
        raise UserError(
            f"{named(fusion, 'model.fusion')} returned {describe(tokens)}; expected tokens ({batch}, M, {dim}), M"
            f" at least 1, for {batch} volumes and the volume encoder's `dim` = {dim}."
        )
    entropy = getattr(fusion, "entropy", None)
    if entropy is not None and not (isinstance(entropy, Tensor) and entropy.ndim == 0):
        raise UserError(
            f"{named(fusion, 'model.fusion')} has {describe(entropy)} as `entropy`; expected a scalar tensor or None."
        )


def check_losses(objective: nn.Module, losses: object) -> None:
    """Check what a loss returned.

    Args:
        objective: the loss.
        losses: its output.

    Raises:
        UserError: it is not a dict of scalars with the key `loss`.
    """
    if not isinstance(losses, dict) or "loss" not in losses:
        found = f"a dict with the keys {sorted(losses)}" if isinstance(losses, dict) else describe(losses)
        raise UserError(
            f"{named(objective, 'model.objective')} returned {found}; expected a dict of scalars with the key `loss`."
        )
    _check_scalars(objective, losses, "returned")


def check_logged(objective: nn.Module, logged: object) -> None:
    """Check what a loss wants to have logged.

    Args:
        objective: the loss.
        logged: what its `logged` returned.

    Raises:
        UserError: it is not a dict of scalars.
    """
    if not isinstance(logged, dict):
        raise UserError(f"{named(objective, 'model.objective')} logs {describe(logged)}; expected a dict of scalars.")
    _check_scalars(objective, logged, "logs")


def _check_scalars(objective: nn.Module, values: dict[str, object], verb: str) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.ndim:
            raise UserError(
                f"{named(objective, 'model.objective')} {verb} {describe(value)} as `{name}`; expected a scalar tensor."
            )


def _floats(*tensors: object) -> bool:
    return all(isinstance(tensor, Tensor) and tensor.is_floating_point() for tensor in tensors)


def _message(encoder: nn.Module, option: str, found: str, expected: str, batch: int, inputs: str) -> str:
    return (
        f"{named(encoder, option)} returned {found} for {batch} {inputs}; expected {expected}, since its `dim` is"
        f" {getattr(encoder, 'dim', None)}."
    )


def named(part: nn.Module, option: str) -> str:
    """Return the class of a part and the option that names it."""
    return f"{type(part).__module__}.{type(part).__qualname__} ({option})"


def describe(value: object) -> str:
    """Return what a value is: the shape of a tensor, the first items of a list, or its type."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f" of {str(value.dtype).removeprefix('torch.')}"
        return f"a tensor {tuple(value.shape)}{kind}"
    if isinstance(value, tuple | list):
        items = [*map(describe, value[:3]), *["…"] * (len(value) > 3)]
        return f"a {type(value).__name__} of {', '.join(items) or 'nothing'}"
    return f"a {type(value).__name__}"
