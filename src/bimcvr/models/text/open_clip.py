"""Frozen text towers of CLIP models that open_clip can read: BiomedCLIP, CLIP and their like."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, TOKENIZER_FILES, first_line, pick
from bimcvr.models.pretrained.open_clip import fill, open_clip_folder, read_config
from bimcvr.models.text.base import FrozenTextEncoder

# BiomedCLIP's folder may hold no config.json of its text tower; these towers have the shape of BERT-base
_BERT_BASE = (
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
)
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
        UserError: the model is missing or incomplete, or its weights do not fit its config.
    """

    def __init__(self, model: str, pretrained: str = "", sentences: bool = False, cache_size: int = 100_000) -> None:
        folder = open_clip_folder(model, pretrained)
        config = read_config(folder, "text_cfg")
        text = config["text_cfg"]
        try:
            tower = _hugging_face_tower(folder, config) if text.get("hf_model_name") else _plain_tower(config)
            tokenizer = _tokenizer(folder, text)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"The text tower or the tokenizer of the model folder {folder} cannot be made: "
                f"{type(error).__name__}: {first_line(error)}. {REPAIR}"
            ) from error
        fill(tower, folder, _tower_name, "text", _SURPLUS)
        super().__init__(tower, config["embed_dim"], sentences, cache_size, source=f"{model} {pretrained}".strip())
        self._tokenizer = tokenizer
        # a tower of transformers masks its padding, so it may be cut off
        shape = cast(Any, tower).config if text.get("hf_model_name") else None
        self._padding: int | None = shape and shape.pad_token_id

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        tokens = self._tokenizer(texts)  # (n, context) int64
        if self._padding is not None:
            longest = int((tokens != self._padding).sum(dim=1).max())
            tokens = tokens[:, :longest]
        return cast(Tensor, self.tower(tokens.to(self.device)))


def _hugging_face_tower(folder: Path, config: dict[str, Any]) -> nn.Module:
    """Build, with random weights, a text tower of the transformers library, shaped as the folder says."""
    from open_clip.hf_model import HFTextEncoder
    from transformers import AutoConfig, BertConfig

    text = config["text_cfg"]
    with tempfile.TemporaryDirectory() as spare:
        shape = folder
        if not (folder / "config.json").is_file():
            if text["hf_model_name"] not in _BERT_BASE:
                raise UserError(
                    f"The model folder {folder} has no config.json, so the shape of its text "
                    "tower is not known. Where there is a network run `hf download "
                    f"{text['hf_model_name']} config.json --local-dir DIR`, and put that file "
                    "into the folder."
                )
            shape = Path(spare)
            BertConfig().save_pretrained(shape)
        AutoConfig.from_pretrained(str(shape), trust_remote_code=False)  # refuses code that open_clip would ask about
        return cast(
            nn.Module,
            HFTextEncoder(
                str(shape),
                output_dim=config["embed_dim"],
                pretrained=False,
                proj_type=text.get("hf_proj_type", "mlp"),
                pooler_type=text.get("hf_pooler_type", "mean_pooler"),
            ),
        )


def _plain_tower(config: dict[str, Any]) -> nn.Module:
    """Build, with random weights, the text tower of a model without parts of other libraries."""
    from open_clip.model import _build_text_tower

    if config["text_cfg"].get("output_tokens") or "multimodal_cfg" in config:
        raise ValueError("a CoCa model, whose text tower does not give one vector a text")
    quick = bool(config.get("quick_gelu", False))
    return cast(nn.Module, _build_text_tower(config["embed_dim"], config["text_cfg"], quick_gelu=quick))


def _tokenizer(folder: Path, text: dict[str, Any]) -> Callable[[list[str]], Tensor]:
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    context = int(text.get("context_length", 77))
    options = dict(text.get("tokenizer_kwargs") or {})
    if options.get("trust_remote_code"):
        raise ValueError("its config asks for trust_remote_code, and code of a model is never run")
    if not text.get("hf_tokenizer_name"):
        return cast(Callable[[list[str]], Tensor], SimpleTokenizer(context_length=context, **options))
    pick(folder, TOKENIZER_FILES)
    return cast(
        Callable[[list[str]], Tensor],
        HFTokenizer(
            str(folder),
            context_length=context,
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            **{**options, "trust_remote_code": False},
        ),
    )


def _tower_name(key: str) -> str:
    """Return a checkpoint key's name within the text tower, or an empty string outside it."""
    if key.startswith("text."):
        return key.removeprefix("text.")
    return key if key.startswith(_PLAIN) else ""
