"""Whether a checkpoint belongs to the model that it is loaded into, and which option differs if not."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytorch_lightning.utilities import rank_zero_warn
from torch import nn

from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.models.retriever import Retriever

_OPTIONS = ("volume_encoder", "text_encoder", "fusion", "objective", "embed_dim", "whiten_text", "map_volumes")


def check_same_parts(model: "Retriever", checkpoint: Mapping[str, Any], resumes: bool) -> None:
    """Compare a checkpoint with the model that a trainer loads it into.

    Other weights are refused; another class or argument whose weights fit all the same is said in a warning, since it
    may be meant.

    Args:
        model: the model, attached to a trainer.
        checkpoint: its content.
        resumes: whether training goes on, with the optimiser's state of the checkpoint.

    Raises:
        UserError: the weights do not fit, or the optimiser to resume is of another class.
    """
    before, now = checkpoint.get("hyper_parameters", {}), dict(model.hparams)
    path = model.trainer.ckpt_path
    differences = [text for option in _OPTIONS for text in _differences(option, before.get(option), now.get(option))]
    own, kept = model.state_dict(), checkpoint["state_dict"]
    shapes = {name: (_shape(own.get(name)), _shape(kept.get(name))) for name in {**own, **kept}}
    misfit = next((name for name, (here, there) in shapes.items() if here != there), None)
    if misfit:
        here, there = shapes[misfit]
        raise UserError(
            f"{path} does not fit this model{': ' * bool(differences)}{'; '.join(differences)}. The first tensor that"
            f" differs is {misfit}: {here} here, {there} in the checkpoint. Take the options of the checkpoint's run,"
            " which its config.yaml has, or train a new run."
        )
    made, kept_by = _class(now.get("optimizer")), _class(before.get("optimizer"))
    if resumes and made and kept_by and made != kept_by:
        raise UserError(
            f"model.optimizer is {made}, but {path} has the state of {kept_by}, which it cannot continue. Resume with"
            " that optimiser, or train a new run."
        )
    if differences:
        rank_zero_warn(f"Unlike when {path} was made, {'; '.join(differences)}. Its weights fit and are used.")


def _differences(option: str, before: Any, now: Any) -> Iterator[str]:
    """Say how an option differs, by its class or else by each argument."""
    if isinstance(before, nn.Module) or isinstance(now, nn.Module) or _plain(before) == _plain(now):
        return
    if not (isinstance(before, dict) and isinstance(now, dict)):
        yield f"model.{option} is {_class(now) or now}, in the checkpoint {_class(before) or before}"
    elif _class(before) != _class(now):
        yield f"model.{option} is {_class(now)}, in the checkpoint {_class(before)}"
    else:
        ours, theirs = now.get("init_args") or {}, before.get("init_args") or {}
        # what only one side names was no option yet when the checkpoint was made, or is none any more
        for name in (name for name in ours if name in theirs):
            yield from _differences(f"{option}.{name}", theirs.get(name), ours.get(name))


def _class(part: Any) -> str:
    return str(part.get("class_path", "")) if isinstance(part, dict) else ""


def _plain(value: Any) -> Any:
    """Return an option's value with lists for tuples: a checkpoint keeps either."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != "init_args" or item}
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _shape(tensor: Any) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))
