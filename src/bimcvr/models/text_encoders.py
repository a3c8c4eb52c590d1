"""Frozen text encoders of the Hugging Face and sentence-transformers kind."""

import json
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from bimcvr.errors import UserError
from bimcvr.models.frozen_text import FrozenTextEncoder
from bimcvr.models.hub import TOKENIZER_FILES, model_folder, pick

Pooling = Literal["mean", "cls"]
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class SentenceEncoder(FrozenTextEncoder):
    """Any Hugging Face or sentence-transformers encoder, frozen: a list of B strings → (B, E).

    Args:
        model: a hub id or the folder of a model (config.json, weights, tokenizer).
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors, which keeps sides and
            lobes that one vector of the whole report loses.
        pooling: how a text's tokens become one vector: `mean` over them or the first one (`cls`). None takes what the
            model's folder says (1_Pooling/config.json), and the mean if it says nothing.
        max_tokens: where a text is cut; None takes what the model's folder says.
        cache_size: how many vectors are kept in memory.

    Raises:
        UserError: the model is absent, not whole, or of a kind that would be encoded wrongly.
    """

    def __init__(self, model: str, sentences: bool = True, pooling: Pooling | None = None,
                 max_tokens: int | None = None, cache_size: int = 100_000) -> None:
        folder = model_folder(model, "config.json", _WEIGHTS)
        tower, self_tokenizer = _load(folder)
        super().__init__(tower, int(cast(Any, tower).config.hidden_size), sentences, cache_size)
        self.pooling = pooling or _published_pooling(folder)
        self.max_tokens = max_tokens or _published_length(folder, self_tokenizer, tower)
        self._tokenizer = self_tokenizer

    def _encode(self, texts: list[str]) -> Tensor:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens,
                                 return_tensors="pt").to(self.device)
        states = cast(Tensor, self.tower(**tokens).last_hidden_state)  # (n, tokens, E)
        if self.pooling == "cls":
            return states[:, 0]
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)


def _load(folder: Path) -> tuple[nn.Module, Any]:
    """Load tower and tokenizer from a folder, and refuse weights that do not fill the tower."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    pick(folder, TOKENIZER_FILES)
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tower, report = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a damaged folder makes transformers raise
        raise UserError(f"The model folder {folder} cannot be read as a text encoder: "
                        f"{str(error).splitlines()[0]}. Download it again, whole and unchanged.") from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
    # the pooler is not used here, and many published encoders come without one
    absent = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if absent:
        raise UserError(f"The weights in {folder} lack {len(absent)} of the encoder's tensors (the first: {absent[0]}), "
                        "which would stay random. Give a folder whose weights belong to its config.json.")
    return tower, tokenizer


def _published_pooling(folder: Path) -> Pooling:
    """Read sentence-transformers' module list, refusing what this class would leave out."""
    modules = _json(folder / "modules.json", [])
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    unknown = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise UserError(f"The model in {folder} has a {unknown[0]} module, which is not supported here. Choose one made "
                        "of Transformer, Pooling and Normalize only.")
    config = next((_json(folder / module["path"] / "config.json", {})
                   for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), {})
    flags = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    chosen = config.get("pooling_mode") or [flags.get(key, key) for key, value in config.items()
                                            if key.startswith("pooling_mode_") and value] or "mean"
    chosen = chosen[0] if isinstance(chosen, list) and len(chosen) == 1 else chosen
    if chosen not in ("mean", "cls"):
        raise UserError(f"The model in {folder} pools by {chosen}, which is not supported here. Choose a model that "
                        "pools by mean or cls, or set `pooling`.")
    return cast(Pooling, chosen)


def _published_length(folder: Path, tokenizer: Any, tower: nn.Module) -> int:
    published = _json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    positions = getattr(cast(Any, tower).config, "max_position_embeddings", None)
    known = [value for value in (published, tokenizer.model_max_length, positions) if value]
    return int(min(known))


def _json(path: Path, absent: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else absent
