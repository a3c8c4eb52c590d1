"""Frozen text encoders of the Hugging Face and sentence-transformers kind."""

import json
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor, nn

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, TOKENIZER_FILES, first_line, model_folder, pick
from bimcvr.models.text.base import FrozenTextEncoder

Pooling = Literal["mean", "cls"]
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class SentenceEncoder(FrozenTextEncoder):
    """Any Hugging Face or sentence-transformers encoder, frozen: a list of B strings → (B, E).

    Args:
        model: a hub id or the folder of a model (config.json, weights, tokenizer).
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors, each scaled
            to length 1: that keeps sides and lobes, which one vector of the whole report loses.
        pooling: how a text's tokens become one vector: `mean` over them or the first one (`cls`). None takes
            what the model's folder says (1_Pooling/config.json), and the mean if it says nothing.
        max_tokens: where a text is cut; None takes what the model's folder says.
        cache_size: how many vectors are kept in memory.

    Raises:
        UserError: the model is missing or incomplete, or of a kind that this class would encode wrongly.
    """

    def __init__(
        self,
        model: str,
        sentences: bool = True,
        pooling: Pooling | None = None,
        max_tokens: int | None = None,
        cache_size: int = 100_000,
    ) -> None:
        folder = model_folder(model, "config.json", _WEIGHTS)
        modules = _modules(folder)
        tower, tokenizer = _load(folder)
        super().__init__(tower, int(cast(Any, tower).config.hidden_size), sentences, cache_size, source=model)
        self.pooling = pooling or _published_pooling(modules.get("Pooling", folder / "1_Pooling"))
        self.max_tokens = max_tokens or _published_length(folder, tokenizer, tower)
        self._tokenizer = tokenizer

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        states = cast(Tensor, self.tower(**tokens).last_hidden_state)  # (n, tokens, E)
        if self.pooling == "cls":
            return states[:, 0]
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        return cast(Tensor, (states * mask).sum(dim=1) / mask.sum(dim=1))


def _load(folder: Path) -> tuple[nn.Module, Any]:
    """Load tower and tokenizer from a folder, and refuse weights that leave a part of the tower random."""
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
        raise UserError(
            f"The model folder {folder} cannot be read as a text encoder: {first_line(error)}. {REPAIR}"
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
    # the pooler is not used here, and many published encoders come without one
    absent = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if absent:
        raise UserError(
            f"The weights in {folder} lack {len(absent)} of the encoder's tensors (the first: "
            f"{absent[0]}), which would stay random. Give a folder whose weights belong to its "
            "config.json."
        )
    return tower, tokenizer


def _modules(folder: Path) -> dict[str, Path]:
    """Read the list of sentence-transformers modules, and refuse those that this class does not run."""
    modules = {
        str(module["type"]).rsplit(".", 1)[-1]: folder / module["path"] for module in _json(folder / "modules.json", [])
    }
    unknown = sorted(set(modules) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise UserError(
            f"The model in {folder} has a module of the kind {unknown[0]}, which is not "
            "supported here. Choose one made of Transformer, Pooling and Normalize only."
        )
    return modules


def _published_pooling(pooling_folder: Path) -> Pooling:
    config: dict[str, Any] = _json(pooling_folder / "config.json", {})
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        modes = mode if isinstance(mode, list) else [mode]
    else:  # as older versions of sentence-transformers wrote it: one switch a mode
        switches = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
        chosen = [key for key, on in config.items() if key.startswith("pooling_mode_") and on]
        modes = [switches.get(key, key) for key in chosen]
    if modes and modes not in (["mean"], ["cls"]):
        raise UserError(
            f"{pooling_folder / 'config.json'} asks for the pooling {' and '.join(modes)}, which "
            "is not supported here. Choose a model that pools by mean or cls, or set `pooling`."
        )
    return cast(Pooling, modes[0] if modes else "mean")


def _published_length(folder: Path, tokenizer: Any, tower: nn.Module) -> int:
    published = _json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    positions = getattr(cast(Any, tower).config, "max_position_embeddings", None)
    return int(min(value for value in (published, tokenizer.model_max_length, positions) if value))


def _json(path: Path, absent: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else absent
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}). {REPAIR}") from error
