"""COLIPRI (Wald et al. 2026, https://arxiv.org/abs/2510.15042): a Primus transformer of chest CT and CXR-BERT."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bimcvr.contracts import Features
from bimcvr.extras import require_extra
from bimcvr.models.peers.cxr_bert import TOKENIZER, TOKENS, cxr_bert_tokenizer
from bimcvr.models.peers.text import PeerText
from bimcvr.models.peers.volume import PeerVolume, TowerInput, one_token, with_version
from bimcvr.models.peers.weights import PeerWeights, drawn_at_random, load, read_tensors, refuse_reduced

MODEL, FILE = "microsoft/colipri", "model.safetensors"
_HEADS = 12


class ColipriVolume(PeerVolume):
    """COLIPRI's volume tower: 192³ voxels of 2 mm → one vector (B, 768), or 24³ tokens (B, N, 864).

    Axes are RAS, as colipri 0.1.2 and later have them; 0.1.1 read the same weights as SAR, and its page still prints
    that. Padding is air (−1000 HU) here, the volume's own minimum in colipri: the same wherever a volume has air.

    Args:
        model: `microsoft/colipri`, the folder that `hf download` makes of it, or its model.safetensors.
        projected: see `PeerVolume`.
        random_weights: nothing published is loaded, and results say "random weights".
        reduced: colipri's settings of a smaller model (`input_size`, `image_embed_dim` …); with random weights only.

    Raises:
        MissingExtra: colipri is not installed.
        UserError: the file does not hold the weights of this model.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    peer, licence = "COLIPRI", "MIT"

    def __init__(
        self,
        model: str = MODEL,
        projected: bool = True,
        random_weights: bool = False,
        reduced: dict[str, int] | None = None,
    ) -> None:
        require_extra("peers")
        from colipri import get_model
        from colipri.checkpoint import load_processor_config

        refuse_reduced(reduced, random_weights)
        weights = PeerWeights(model, [FILE], random_weights)
        with drawn_at_random():
            tower = get_model(pretrained=False, image_only=True, **(reduced or {}))
        if weights.files:
            tensors = read_tensors(weights.files[0], "image_encoder.")
            load(tower.image_encoder, tensors, weights.files[0], surplus=True)
        given = load_processor_config(overrides=[f"{key}={value}" for key, value in (reduced or {}).items()])
        side = int(given["image_transform"]["transforms"]["crop_or_pad"]["target_shape"][0])
        wanted = TowerInput("RAS", (side, side, side), (2.0, 2.0, 2.0), scaled=(-1.0, 1.0))
        projector = tower.image_encoder.projector
        dim = projector.out_channels if projected else projector.in_channels
        super().__init__(tower, wanted, weights, with_version("colipri"), projected, dim)

    def encode(self, prepared: Tensor) -> Features:
        """Encode (B, 1, R, A, S) in [-1, 1]."""
        if self.projected:
            return one_token(self.tower.encode_image(prepared, pool=True, project=True))
        tokens = self.tower.encode_image(prepared).flatten(2).transpose(1, 2)
        return Features(tokens.mean(1), tokens)


class ColipriText(PeerText):
    """COLIPRI's text tower: CXR-BERT, pooled by attention → (B, 768), length 1.

    Tokens of padding are masked in the pooling, as colipri 0.1.3 does; 0.1.2 attended to all 512 places.

    Args:
        model: as for `ColipriVolume`; the file holds both towers.
        tokenizer: `microsoft/BiomedVLP-CXR-BERT-specialized`, or its folder; vocab.txt is read, no code is run.
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors.
        random_weights: nothing published is loaded, and results say "random weights".
        reduced: BERT's settings of a smaller model (`hidden_size`, `num_hidden_layers` …); with random weights only.
        cache_size: how many vectors are kept in memory.

    Raises:
        MissingExtra: colipri is not installed.
        UserError: the file does not hold the weights of this model.
        WeightsAbsent: a file is not here and cannot be downloaded.
    """

    peer, licence = "COLIPRI", "MIT"

    def __init__(
        self,
        model: str = MODEL,
        tokenizer: str = TOKENIZER,
        sentences: bool = False,
        random_weights: bool = False,
        reduced: dict[str, int] | None = None,
        cache_size: int = 100_000,
    ) -> None:
        require_extra("peers")
        refuse_reduced(reduced, random_weights)
        weights = PeerWeights(model, [FILE], random_weights)
        words, vocabulary = cxr_bert_tokenizer(tokenizer)
        with drawn_at_random():
            tower = _bert(len(words), reduced or {})
        if weights.files:
            tensors = read_tensors(weights.files[0], "text_encoder.")
            load(tower, tensors, weights.files[0], surplus=True)
        form = {"max_tokens": TOKENS, "pooling": "attention, padding masked", "tokenizer": vocabulary}
        super().__init__(
            tower, tower.pooler.attn.embed_dim, weights, with_version("colipri"), form, sentences, cache_size
        )
        self._tokenizer = words

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        tokens = self._tokenizer(texts, max_length=TOKENS, padding=True, truncation=True, return_tensors="pt")
        vectors: Tensor = self.tower(tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device))
        return vectors


def _bert(words: int, reduced: Mapping[str, int]) -> Any:
    """Build, with random weights, CXR-BERT without its own pooler, and colipri's attention pooling."""
    from colipri.model.text import TextEncoder
    from colipri.pooling import AttentionPool1D
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=words, **reduced)
    backbone = BertModel(config, add_pooling_layer=False)
    heads = _HEADS if not reduced else config.num_attention_heads
    return TextEncoder(backbone, AttentionPool1D(config.hidden_size, heads))
