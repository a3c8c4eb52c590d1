"""Frozen text towers of CLIP models that open_clip can read: BiomedCLIP, CLIP and their like."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, TOKENIZER_FILES, first_line, model_folder, pick
from bimcvr.models.frozen_text import FrozenTextEncoder

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin")
# BiomedCLIP's folder may hold no config.json of its text tower; these towers have the shape of BERT-base
_BERT_BASE = ("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
              "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract")
# a constant that older versions of transformers saved beside the weights
_SURPLUS = "transformer.embeddings.position_ids"
# where plain CLIP models keep their text tower: at the top, without a prefix
_PLAIN = ("transformer.", "token_embedding.", "ln_final.", "positional_embedding", "text_projection")


class OpenClipText(FrozenTextEncoder):
    """The text tower of an open_clip model, frozen: a list of B strings → (B, E), not normalised.

    The image tower is never built. A folder is used as it was published: where its config names a text model
    on the hub, the folder's own files are taken in its place.

    Args:
        model: a hub id (`hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224`), the folder that
            `hf download` makes of it, or with `pretrained` one of open_clip's names (`ViT-B-32`).
        pretrained: the tag of the weights, for open_clip's names (`openai`).
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors, each scaled
            to length 1; otherwise the whole text is read, cut at the model's context.
        cache_size: how many vectors are kept in memory.

    Raises:
        UserError: the model is absent, not whole, or its weights do not fit its config.
    """

    def __init__(self, model: str, pretrained: str = "", sentences: bool = False,
                 cache_size: int = 100_000) -> None:
        folder = model_folder(_published_as(model, pretrained) if pretrained else model, _CONFIG, _WEIGHTS)
        config = _read_config(folder)
        text = config["text_cfg"]
        try:
            tower = _hugging_face_tower(folder, config) if text.get("hf_model_name") else _plain_tower(config)
            tokenizer = _tokenizer(folder, text)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise UserError(f"The text tower or the tokenizer of the model folder {folder} cannot be made: "
                            f"{type(error).__name__}: {first_line(error)}. {REPAIR}") from error
        _fill(tower, pick(folder, _WEIGHTS))
        super().__init__(tower, config["embed_dim"], sentences, cache_size, source=f"{model} {pretrained}".strip())
        self._tokenizer = tokenizer
        # a tower of transformers masks its padding, so it may be cut off
        shape = cast(Any, tower).config if text.get("hf_model_name") else None
        self._padding: int | None = shape and shape.pad_token_id

    def _encode(self, texts: list[str]) -> Tensor:
        tokens = self._tokenizer(texts)  # (n, context) int64
        if self._padding is not None:
            longest = int((tokens != self._padding).sum(dim=1).max())
            tokens = tokens[:, :longest]
        return cast(Tensor, self.tower(tokens.to(self.device)))


def _published_as(model: str, pretrained: str) -> str:
    """Return the hub id behind one of open_clip's names and tags."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(model)
    published = str(get_pretrained_cfg(model, pretrained).get("hf_hub", ""))
    if not published:
        known = f"has the tags {', '.join(tags)}" if tags else "is not one of its names"
        raise UserError(f"open_clip publishes no weights '{pretrained}' of '{model}' on the hub: '{model}' "
                        f"{known}. Choose another `pretrained`, or leave it out and give a hub id or a "
                        "folder as `model`.")
    return "/".join(published.split("/")[:2])


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        config = whole.get("model_cfg", whole)
        return {**config, "embed_dim": int(config["embed_dim"]), "text_cfg": dict(config["text_cfg"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not an open_clip config with `embed_dim` and `text_cfg` ({error!r}). "
                        f"{REPAIR}") from error


def _hugging_face_tower(folder: Path, config: dict[str, Any]) -> nn.Module:
    """Build, with random weights yet, a text tower of the transformers library, shaped as the folder says."""
    from open_clip.hf_model import HFTextEncoder
    from transformers import BertConfig

    text = config["text_cfg"]
    with tempfile.TemporaryDirectory() as spare:
        shape = folder
        if not (folder / "config.json").is_file():
            if text["hf_model_name"] not in _BERT_BASE:
                raise UserError(f"The model folder {folder} has no config.json, so the shape of its text "
                                "tower is not known. Where there is a network run `hf download "
                                f"{text['hf_model_name']} config.json --local-dir DIR`, and put that file "
                                "into the folder.")
            shape = Path(spare)
            BertConfig().save_pretrained(shape)
        return cast(nn.Module, HFTextEncoder(str(shape), output_dim=config["embed_dim"], pretrained=False,
                                             proj_type=text.get("hf_proj_type", "mlp"),
                                             pooler_type=text.get("hf_pooler_type", "mean_pooler")))


def _plain_tower(config: dict[str, Any]) -> nn.Module:
    """Build, with random weights yet, the text tower of a model that is open_clip's own throughout."""
    from open_clip.model import _build_text_tower

    if config["text_cfg"].get("output_tokens") or "multimodal_cfg" in config:
        raise ValueError("a CoCa model, whose text tower does not give one vector a text")
    quick = bool(config.get("quick_gelu", False))
    return cast(nn.Module, _build_text_tower(config["embed_dim"], config["text_cfg"], quick_gelu=quick))


def _tokenizer(folder: Path, text: dict[str, Any]) -> Callable[[list[str]], Tensor]:
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    context = int(text.get("context_length", 77))
    options = text.get("tokenizer_kwargs") or {}
    if not text.get("hf_tokenizer_name"):
        return cast(Callable[[list[str]], Tensor], SimpleTokenizer(context_length=context, **options))
    pick(folder, TOKENIZER_FILES)
    return cast(Callable[[list[str]], Tensor],
                HFTokenizer(str(folder), context_length=context, tokenizer_mode=text.get("tokenizer_mode"),
                            local_files_only=True, **options))


def _fill(tower: nn.Module, weights: Path) -> None:
    """Load a checkpoint's text weights into the tower, every tensor of it and no other."""
    try:
        state = _text_weights(weights)
    except Exception as error:  # pickle, zip and safetensors each have their own for a damaged file
        raise UserError(f"{weights} cannot be read as a file of weights ({type(error).__name__}). "
                        f"{REPAIR}") from error
    if _SURPLUS not in tower.state_dict():
        state.pop(_SURPLUS, None)
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        said = str(error).splitlines()
        raise UserError(f"The text weights in {weights} do not fit the text tower that the folder's configs "
                        f"describe ({' '.join(said[1:2]).strip()[:200]}). {REPAIR}") from error


def _text_weights(path: Path) -> dict[str, Tensor]:
    """Read the text tower's tensors under the names that the tower itself gives them."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(key) for key in stream.keys() if (name := _own_name(key))}
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value for key, value in state.items() if (name := _own_name(key))}


def _own_name(key: str) -> str:
    """Return a checkpoint key's name within the text tower, or nothing if it belongs elsewhere."""
    if key.startswith("text."):
        return key.removeprefix("text.")
    return key if key.startswith(_PLAIN) else ""
