"""Reading an open_clip model's published folder: its config, and the weights of one of its towers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, model_folder, pick

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def open_clip_folder(model: str, pretrained: str) -> Path:
    """Return the folder of a hub id, of a folder, or with `pretrained` of one of open_clip's names.

    Raises:
        UserError: there is no such folder or name, or the folder is incomplete.
        WeightsAbsent: the model is not here and cannot be downloaded.
    """
    return model_folder(_published_as(model, pretrained) if pretrained else model, _CONFIG, _WEIGHTS)


def read_config(folder: Path, tower: str) -> dict[str, Any]:
    """Return the model's config: `embed_dim`, the tower's section, and the images' `preprocess_cfg`.

    Args:
        folder: the model's folder.
        tower: `text_cfg` or `vision_cfg`.

    Raises:
        UserError: the config is damaged, or the tower is missing in it.
    """
    path = folder / _CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content.get("model_cfg", content)
        return {
            **config,
            "embed_dim": int(config["embed_dim"]),
            tower: dict(config[tower]),
            "preprocess_cfg": dict(content.get("preprocess_cfg") or {}),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not an open_clip config with `embed_dim` and `{tower}` ({error!r}). {REPAIR}"
        ) from error


def fill(tower: nn.Module, folder: Path, tower_name: Callable[[str], str], kind: str, surplus: str = "") -> None:
    """Load a checkpoint's weights into one tower; every tensor of the tower must be there, and no other.

    Args:
        tower: the module, with random weights.
        folder: the model's folder.
        tower_name: maps a checkpoint's key to a name within the tower, or to an empty string outside it.
        kind: `text` or `image`.
        surplus: a name that the checkpoint may have although the tower has not.

    Raises:
        UserError: the file cannot be read, or does not fit the tower.
    """
    weights, state = pick(folder, _WEIGHTS), read_weights(folder, tower_name)
    if surplus not in tower.state_dict():
        state.pop(surplus, None)
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise UserError(
            f"The {kind} weights in {weights} do not fit the {kind} tower that the folder's configs "
            f"describe ({' '.join(lines[1:2]).strip()[:200]}). {REPAIR}"
        ) from error


def read_weights(folder: Path, tower_name: Callable[[str], str]) -> dict[str, Tensor]:
    """Read some of a checkpoint's tensors under new names.

    Args:
        folder: the model's folder.
        tower_name: maps a checkpoint's key to the name that its tensor gets, or to an empty string to skip it.

    Raises:
        UserError: the file cannot be read.
    """
    weights = pick(folder, _WEIGHTS)
    try:
        return _read(weights, tower_name)
    except Exception as error:  # pickle, zip and safetensors each have their own for a damaged file
        raise UserError(f"{weights} cannot be read as a file of weights ({type(error).__name__}). {REPAIR}") from error


def _published_as(model: str, pretrained: str) -> str:
    """Return the hub id behind one of open_clip's names and tags."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(model)
    published = str(get_pretrained_cfg(model, pretrained).get("hf_hub", ""))
    if not published:
        known = f"has the tags {', '.join(tags)}" if tags else "is not one of its names"
        raise UserError(
            f"open_clip publishes no weights '{pretrained}' of '{model}' on the hub: '{model}' "
            f"{known}. Choose another `pretrained`, or leave it out and give a hub id or a "
            "folder as `model`."
        )
    return "/".join(published.split("/")[:2])


def _read(path: Path, tower_name: Callable[[str], str]) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(key) for key in stream.keys() if (name := tower_name(key))}
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value for key, value in state.items() if (name := tower_name(key))}
