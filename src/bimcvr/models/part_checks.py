"""Checks that a model's parts keep their contracts (`bimcvr.contracts`), with messages that name class and shapes.

They compare shapes only: they draw no random numbers and run nothing, so that every batch can be checked.
"""

from torch import Tensor, nn

from bimcvr.contracts import Features
from bimcvr.errors import UserError


def check_dim(part: nn.Module, option: str) -> None:
    """Check that an encoder says how long its vectors are.

    Args:
        part: the volume or text encoder.
        option: where the configuration names it, such as `model.volume_encoder`.

    Raises:
        UserError: it has no positive whole number `dim`.
    """
    dim = getattr(part, "dim", None)
    if not isinstance(dim, int) or dim < 1:
        found = "has no attribute `dim`" if dim is None else f"has `dim` = {dim!r}"
        raise UserError(
            f"{_name(part)} ({option}) {found}: set `self.dim` in its constructor to the length of the vectors that it"
            " returns, a whole number."
        )


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
    if not isinstance(features, Features):
        raise UserError(_message(encoder, "model.volume_encoder", _shape(features), expected, batch, "volumes"))
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
    if not isinstance(features, Tensor) or tuple(features.shape) != (batch, dim):
        raise UserError(
            _message(encoder, "model.text_encoder", _shape(features), f"a tensor ({batch}, {dim})", batch, "texts")
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
    shape = tuple(tokens.shape) if isinstance(tokens, Tensor) else ()
    if len(shape) != 3 or not shape[1] or (shape[0], shape[2]) != (batch, dim):
        raise UserError(
            f"{_name(fusion)} (model.fusion) returned {_shape(tokens)}; expected tokens ({batch}, M, {dim}), M at least"
            f" 1, for {batch} volumes and the volume encoder's `dim` = {dim}."
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
        found = f"a dict with the keys {sorted(losses)}" if isinstance(losses, dict) else _shape(losses)
        raise UserError(
            f"{_name(objective)} (model.objective) returned {found}; expected a dict of scalars with the key `loss`."
        )
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.ndim:
            raise UserError(
                f"{_name(objective)} (model.objective) returned {_shape(value)} as `{name}`; expected a scalar tensor."
            )


def _message(encoder: nn.Module, option: str, found: str, expected: str, batch: int, inputs: str) -> str:
    return (
        f"{_name(encoder)} ({option}) returned {found} for {batch} {inputs}; expected {expected}, since its `dim` is"
        f" {getattr(encoder, 'dim', None)}."
    )


def _name(part: nn.Module) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _shape(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(map(_shape, value)) or 'nothing'}"
    return f"a {type(value).__name__}"
