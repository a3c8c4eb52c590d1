"""Runs each part of a model once before anything is trained or evaluated, so that a wrong one is named at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from bimcvr.contracts import DataGrid
from bimcvr.data.text.samplers import HeadSampler
from bimcvr.errors import UserError
from bimcvr.models.losses.objective import Objective
from bimcvr.models.part_checks import (
    check_features,
    check_grid,
    check_logged,
    check_losses,
    check_text_features,
    check_tokens,
    named,
    run_part,
)
from bimcvr.models.volume.cached_features import CachedFeatures
from bimcvr.models.volume.chunks import statistics_warning

if TYPE_CHECKING:
    from bimcvr.models.retriever import Retriever

# in no report: an encoder that remembers vectors would give them to texts of the data
_TEXTS = ["one text to try a model with", "and another text, longer than the first, to try a model with"]


def check_parts(model: "Retriever", grid: DataGrid, trains: bool) -> None:
    """Run each part of a model once on two empty volumes and two texts, and check what it returns.

    Parts run in evaluation mode and draw no random numbers that a run would draw, so that a run is the same without
    this check.

    Args:
        model: the model, attached to a trainer and on its device.
        grid: of the data.
        trains: whether the loss is run too.

    Raises:
        UserError: a part breaks its contract or fails; it names the part, what came and what was expected. Or the
            volume encoder was made for another grid.
    """
    check_grid(model.volume_encoder, grid)
    modes = [(module, module.training) for module in model.modules()]
    devices = [model.device] if model.device.type == "cuda" else []
    precision = model.trainer.precision_plugin
    try:
        with (
            torch.random.fork_rng(devices),
            torch.compiler.set_stance("force_eager"),  # other shapes than training's would be compiled too
            precision.forward_context(),
            torch.no_grad(),
        ):
            model.eval()
            volumes = precision.convert_input(torch.zeros(2, 1, *grid.size, device=model.device))
            _check(model, volumes, trains)
    finally:
        for module, mode in modes:
            module.training = mode


def _check(model: "Retriever", volumes: Tensor, trains: bool) -> None:
    encoder, text_encoder, fusion, objective = model.volume_encoder, model.text_encoder, model.fusion, model.objective
    features = run_part(encoder, "model.volume_encoder", volumes)
    check_features(encoder, features, len(volumes), encoder.dim)
    text = run_part(text_encoder, "model.text_encoder", _TEXTS)
    check_text_features(text_encoder, text, len(_TEXTS), text_encoder.dim)
    tokens = run_part(fusion, "model.fusion", features, features)
    check_tokens(fusion, tokens, len(volumes), encoder.dim)
    image = _map(encoder, "model.volume_encoder", tokens.mean(1), model.project_image)
    mapped = _map(text_encoder, "model.text_encoder", text, model.map_text)
    if not trains:
        return
    with torch.enable_grad():
        cls, image, mapped = (value.detach().requires_grad_() for value in (features.cls, image, mapped))
        losses = run_part(objective, "model.objective", cls, cls, image, mapped)
    check_losses(objective, losses)
    if not losses["loss"].requires_grad:
        raise UserError(
            f"{named(objective, 'model.objective')} returned a `loss` that does not depend on its inputs:"
            " nothing would be trained. Compute it from them, without `detach` or `item`."
        )
    check_logged(objective, objective.logged())


def refuse_no_negatives(objective: nn.Module, batch: int, processes: int) -> None:
    """Refuse batches of one study.

    Args:
        objective: the loss.
        batch: studies in a batch of a process.
        processes: how many there are.

    Raises:
        UserError: a batch has no negatives.
    """
    together = batch * (processes if getattr(objective, "gather_negatives", True) else 1)
    if isinstance(objective, Objective) and together < 2 and not objective.all_reports:
        raise UserError(
            "A batch of one study has no negatives, so the similarity loss is 0 and trains nothing: set"
            " data.batch_size to 2 or more."
        )


def check_training(model: "Retriever", data: Any, processes: int) -> None:
    """Refuse options that contradict each other in training.

    Args:
        model: the model.
        data: the data module.
        processes: how many share the training set.

    Raises:
        UserError: a batch has no negatives, the data module makes views of volumes whose features are kept, or mixes
            volumes of different labels where labels are trained on, or reports are kept that training would change.
    """
    objective = model.objective
    refuse_no_negatives(objective, data.batch_size, processes)
    changed = [f"data.view_{number}" for number, view in enumerate(data.views, start=1) if view is not None]
    changed += ["data.cutmix"] * bool(data.cutmix)
    if changed and any(isinstance(part, CachedFeatures) for part in model.volume_encoder.modules()):
        raise UserError(
            f"CachedFeatures keeps the features of each volume, but {' and '.join(changed)} would make new volumes"
            " every epoch. Leave these options out, or train without CachedFeatures."
        )
    if objective.reads_labels() and data.cutmix:
        raise UserError(
            "model.objective.keywords and presence cannot be combined with cutmix, which mixes volumes of different"
            " labels: set data.cutmix to 0, or both of them to 0."
        )
    if objective.all_reports and any(weight.requires_grad for weight in model.text_encoder.parameters()):
        raise UserError(
            "model.objective.all_reports needs a text encoder that is not trained: otherwise all training reports would"
            " have to be encoded at every step. Take TunedText away, or set all_reports to false."
        )


def warn_of_training(model: "Retriever", data: Any) -> None:
    """Warn of options that change more of a training than they seem to.

    Args:
        model: the model.
        data: the data module.
    """
    objective = model.objective
    if data.views == [None, None] and getattr(objective, "consistency", 0):
        rank_zero_warn(
            "data.two_views is on, but neither data.view_1 nor data.view_2 changes a volume: both views are the same,"
            " and L_mse compares a volume with itself. Give a transform, or set data.two_views to false."
        )
    if objective.all_reports and not isinstance(data.text_sampler, HeadSampler):
        rank_zero_warn(
            f"model.objective.all_reports compares parts of a study's report ({type(data.text_sampler).__name__}) with"
            " whole reports of others, and the model may learn to tell parts from wholes. Leave data.text_sampler out."
        )
    if model.chunk_size and (warning := statistics_warning(model, model.chunk_size, data.batch_size)):
        rank_zero_warn(warning)


def _map(part: nn.Module, option: str, features: Tensor, to_common: Callable[[Tensor], Tensor]) -> Tensor:
    """Map features into the common space, and name the encoder where they are of another type than the map."""
    try:
        return to_common(features)
    except RuntimeError as error:
        kind = str(features.dtype).removeprefix("torch.")
        raise UserError(
            f"{named(part, option)} returned {kind}, which the map into the common space does not take"
            f" ({' '.join(str(error).split())[:200]}). Return float32."
        ) from error
