"""Frozen text encoders of the Hugging Face and sentence-transformers kind."""

import inspect
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, TOKENIZER_FILES, first_line, model_folder, pick
from bimcvr.models.text.base import FrozenTextEncoder
from bimcvr.models.text.published import LEAST_TOKENS, Pooling, Published, transformer_folder

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_UNLIMITED = 1_000_000
"""Tokens above which a stated length stands for none."""


class SentenceEncoder(FrozenTextEncoder):
    """Any Hugging Face or sentence-transformers encoder, frozen: a list of B strings → (B, E).

    A folder is read as sentence-transformers reads it: lower case, default prompt, pooling, length and the scaling to
    length 1 are those that it publishes, and the vectors are the same. Towers of language models (Qwen3-Embedding) are
    read as well: their vector is that of the last token, which has seen the whole text.

    Args:
        model: a hub id or the folder of a model (config.json, weights, tokenizer).
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors, each scaled
            to length 1: that keeps sides and lobes, which one vector of the whole report loses.
        pooling: how a text's tokens become one vector: `mean` over them, the first one (`cls`) or the last one
            (`lasttoken`). None takes what the model's folder says (1_Pooling/config.json), and the mean if it says
            nothing.
        max_tokens: where a text is cut; None takes what the model's folder says.
        prompt_name: which of the folder's prompts is put before every text, such as `query`; None takes its default
            prompt, if it has one.
        prompt: the words of a prompt that the folder does not have, such as an instruction.
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
        prompt_name: str | None = None,
        prompt: str | None = None,
        cache_size: int = 100_000,
    ) -> None:
        if prompt is not None and prompt_name is not None:
            raise UserError("prompt_name and prompt are both given: name one of the folder's prompts, or give words.")
        folder = model_folder(transformer_folder(model), "config.json", _WEIGHTS)
        published = Published(Path(model).expanduser() if Path(model).expanduser().is_dir() else folder, folder)
        tower, tokenizer = _load(folder)
        super().__init__(tower, int(cast(Any, tower).config.hidden_size), sentences, cache_size, source=model)
        self.pooling: Pooling = pooling or published.pooling()
        self.max_tokens = _length(folder, max_tokens, published.length(), tokenizer, tower)
        if prompt:
            published.refuse_prompt_left_out()
        self.prompt = published.prompt(prompt_name) if prompt is None else prompt
        self._lower_case, self._unit = published.lower_case(), published.normalizes()
        self._tokenizer = tokenizer
        self._inputs = frozenset(inspect.signature(tower.forward).parameters)

    def receipt(self) -> dict[str, object]:
        """Return how a text is read on its way to a vector, and whose weights do it."""
        form = {"prompt": self.prompt, "lower_case": self._lower_case, "max_tokens": self.max_tokens}
        return {**super().receipt(), "input": {**form, "pooling": self.pooling}}

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        texts = [self.prompt + text for text in texts]
        tokens = self._tokenizer(
            [text.lower() for text in texts] if self._lower_case else texts,
            padding=True,
            truncation=self.max_tokens is not None,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.device)
        self._refuse_unknown(tokens["input_ids"])
        states = cast(Tensor, self.tower(**{k: v for k, v in tokens.items() if k in self._inputs}).last_hidden_state)
        vectors = _pool(states, tokens["attention_mask"], self.pooling)
        return normalize(vectors, dim=-1) if self._unit and not self.sentences else vectors

    def _refuse_unknown(self, ids: Tensor) -> None:
        known = cast(Any, self.tower).get_input_embeddings().num_embeddings
        if ids.numel() and int(ids.max()) >= known:
            token = self._tokenizer.convert_ids_to_tokens(int(ids.max()))
            raise UserError(
                f"The tokenizer of the text encoder {self.source} has the token '{token}', and its weights have vectors"
                f" of {known} tokens only. Give a folder whose tokenizer and weights belong together."
            )


def _pool(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Turn the tokens' states (n, T, E), padded on the right, into one vector a text (n, E)."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def _load(folder: Path) -> tuple[nn.Module, Any]:
    """Load tower and tokenizer from a folder, and refuse weights that leave a part of the tower random."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    pick(folder, TOKENIZER_FILES)
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tower, report = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except Exception as error:  # whatever a damaged folder makes transformers raise
        if "trust_remote_code" in str(error):
            raise UserError(
                f"The model in {folder} brings code of its own, which is never run here. Choose a model of an"
                " architecture that the transformers library has."
            ) from error
        raise UserError(
            f"The model folder {folder} cannot be read as a text encoder: {first_line(error)}. {REPAIR}"
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
    if tower.config.is_encoder_decoder or not hasattr(tower.config, "hidden_size"):
        raise UserError(
            f"The model in {folder} ({type(tower).__name__}) is no encoder alone, which is not supported here. Choose"
            " an encoder such as BERT, RoBERTa or MPNet."
        )
    # the pooler is not used here, and many published encoders come without one
    absent = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if absent:
        raise UserError(
            f"The weights in {folder} lack {len(absent)} of the encoder's tensors (the first: "
            f"{absent[0]}), which would stay random. Give a folder whose weights belong to its "
            "config.json."
        )
    if tokenizer.pad_token is None:
        raise UserError(
            f"The tokenizer in {folder} has no padding token, so texts of different lengths cannot be read together."
            " Choose an encoder such as BERT, RoBERTa or MPNet; a model that generates text usually has none."
        )
    if tokenizer.padding_side != "right" and not _rotary(tower):
        raise UserError(
            f"The tokenizer in {folder} pads on the {tokenizer.padding_side}: positions count the padding, so the"
            " vector of a text, sentence-transformers' too, would depend on the texts beside it. Choose a model"
            " that pads on the right."
        )
    if getattr(tower.config, "use_cache", False):
        tower.config.use_cache = False  # of keys and values, for texts that go on: no text does
    # what tokens see does not depend on the side where positions are distances, as rotary ones are
    tokenizer.padding_side = "right"
    return tower, tokenizer


def _rotary(tower: nn.Module) -> bool:
    """Return whether a tower knows the distances of tokens alone, not their places."""
    return any(name.rpartition(".")[2] == "rotary_emb" for name, _ in tower.named_modules())


def _length(folder: Path, wanted: int | None, published: int | None, tokenizer: Any, tower: nn.Module) -> int | None:
    """Return how many tokens of a text are read, special ones included; None where nothing limits them."""
    positions = _positions(tower)
    if wanted is not None and not LEAST_TOKENS <= wanted <= (positions or wanted):
        raise UserError(
            f"max_tokens is {wanted}, but the model in {folder} reads at most {positions} tokens, and at least 3 are"
            " needed: a word between two marks."
        )
    # the folder's own length replaces the tokenizer's, as in sentence-transformers
    lengths = [wanted] if wanted else [published or tokenizer.model_max_length, positions]
    return min((int(length) for length in lengths if length and length < _UNLIMITED), default=None)


def _positions(tower: nn.Module) -> int | None:
    """Return how many tokens a tower has positions for: RoBERTa and its like leave those up to the padding's unused."""
    positions = getattr(cast(Any, tower).config, "max_position_embeddings", None)
    unused = next(
        (
            module.padding_idx + 1
            for name, module in tower.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ),
        0,
    )
    return positions - unused if positions and positions > 0 else None
