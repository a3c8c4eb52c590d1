"""SPECTRE (Claessens et al. 2025, https://arxiv.org/abs/2511.17209): transformers over crops, and Qwen3-Embedding."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.contracts import Features
from bimcvr.errors import UserError
from bimcvr.extras import require_extra
from bimcvr.models.peers.text import PeerText
from bimcvr.models.peers.volume import PeerVolume, TowerInput, one_token, with_version
from bimcvr.models.peers.weights import PeerWeights, drawn_at_random, load, read_tensors, refuse_reduced
from bimcvr.models.text.sentence_transformer import SentenceEncoder

MODEL = "cclaess/SPECTRE"
BACKBONE, COMBINER, IMAGE_HEAD = (
    "spectre_backbone_vit_large_patch16_128.pt",
    "spectre_combiner_feature_vit_large.pt",
    "SigLIP_projection_head_image.pt",
)
LORA, TEXT_HEAD = "spectre_qwen3_embedding_0.6B_lora.pt", "SigLIP_projection_head_text.pt"
LANGUAGE_MODEL = "Qwen/Qwen3-Embedding-0.6B"
FORM = "Findings: {}\n"
_LARGE = {"backbone": "vit_large_patch16_128", "combiner": "feat_vit_large"}
_SPACE, _TOKENS, _CROPS = 512, 1024, 16
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj")


class SpectreVolume(PeerVolume):
    """SPECTRE's volume tower: crops of 128 × 128 × 64, combined → one vector (B, 512), or tokens (B, N, 1080).

    Its authors aligned it with text on 384 × 384 × 256 voxels of 0.75 × 0.75 × 1.5 mm, which is the grid here unless
    another is given; their command reads files at whatever spacing they have.

    Args:
        model: `cclaess/SPECTRE`, or the folder that `hf download` makes of it.
        projected: see `PeerVolume`; otherwise `cls` is the combiner's class token and tokens are its crops.
        size: slices, rows, columns: multiples of 64, 128 and 128.
        spacing: mm along the same axes.
        random_weights: nothing published is loaded, and results say "random weights".
        reduced: names of smaller parts in the package, `backbone` and `combiner`; with random weights only.

    Raises:
        MissingExtra: spectre-fm is not installed.
        UserError: a file does not hold the weights of this model, or the size is not made of whole crops.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    peer, licence = "SPECTRE", "CC-BY-NC-SA-4.0"

    def __init__(
        self,
        model: str = MODEL,
        projected: bool = True,
        size: tuple[int, int, int] = (256, 384, 384),
        spacing: tuple[float, float, float] = (1.5, 0.75, 0.75),
        random_weights: bool = False,
        reduced: dict[str, str] | None = None,
    ) -> None:
        require_extra("peers")
        from spectre import SpectreImageFeatureExtractor
        from spectre.presets import BACKBONE_KWARGS, COMBINER_KWARGS
        from spectre.ssl.heads import SigLIPProjectionHead

        refuse_reduced(reduced, random_weights)
        weights = PeerWeights(model, [BACKBONE, COMBINER, *[IMAGE_HEAD] * projected], random_weights)
        parts = {**_LARGE, **(reduced or {})}
        with drawn_at_random():
            extractor = SpectreImageFeatureExtractor(
                parts["backbone"], BACKBONE_KWARGS, None, parts["combiner"], COMBINER_KWARGS
            )
            length = extractor.feature_combiner.embed_dim
            head = SigLIPProjectionHead(input_dim=2 * length, output_dim=_SPACE) if projected else nn.Identity()
        modules = (extractor.backbone, extractor.feature_combiner, head)
        for module, path in zip(modules, weights.files, strict=False):
            load(module, read_tensors(path), path)
        wanted = TowerInput("RAS", (size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]))
        up, back, across = (extractor.crop_size[place] for place in (2, 1, 0))
        if any(voxels < crop or voxels % crop for voxels, crop in zip(size, (up, back, across), strict=True)):
            raise UserError(
                f"SPECTRE's size is {list(size)}: it must be made of whole crops, multiples of {[up, back, across]}."
            )
        tower = nn.ModuleDict({"extractor": extractor, "head": head})
        super().__init__(tower, wanted, weights, with_version("spectre-fm"), projected, _SPACE if projected else length)

    def encode(self, prepared: Tensor) -> Features:
        """Encode (B, 1, R, A, S) in [0, 1]."""
        from spectre.windowing import grid_patch

        extractor, head = self.tower["extractor"], self.tower["head"]
        crops, grids = zip(*(grid_patch(volume, extractor.crop_size) for volume in prepared), strict=True)
        combined = torch.stack(extractor(list(crops), list(grids), max_crops_per_forward=_CROPS))
        cls, tokens = combined[:, 0], combined[:, 1:]
        return one_token(head(torch.cat([cls, tokens.mean(1)], dim=-1))) if self.projected else Features(cls, tokens)


class SpectreText(PeerText):
    """SPECTRE's text tower: Qwen3-Embedding-0.6B with low-rank adapters, its last token, projected → (B, 512).

    Args:
        model: as for `SpectreVolume`.
        language_model: `Qwen/Qwen3-Embedding-0.6B`, or its folder.
        form: what a text is put into: SPECTRE was trained on reports in the form "Findings: …" and "Impressions: …".
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors.
        random_weights: nothing published is loaded but the language model's folder, and results say "random weights".
        cache_size: how many vectors are kept in memory.

    Raises:
        MissingExtra: spectre-fm is not installed.
        UserError: a file does not hold the weights of this model.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    peer, licence = "SPECTRE", "CC-BY-NC-SA-4.0"

    def __init__(
        self,
        model: str = MODEL,
        language_model: str = LANGUAGE_MODEL,
        form: str = FORM,
        sentences: bool = False,
        random_weights: bool = False,
        cache_size: int = 100_000,
    ) -> None:
        require_extra("peers")
        from spectre.ssl.heads import SigLIPProjectionHead
        from spectre.utils import add_lora_adapters

        if form.count("{}") != 1:
            raise UserError(f"SPECTRE's form is {form!r}: give the place of the text as {{}}, once.")
        weights = PeerWeights(model, [LORA, TEXT_HEAD], random_weights)
        files = PeerWeights(language_model, ["model.safetensors"], random_weights=False)
        reader = SentenceEncoder(language_model, sentences=False, pooling="lasttoken", max_tokens=_TOKENS, prompt="")
        reader._unit = False  # the head was trained on states of any length
        language = reader.tower
        with drawn_at_random():
            add_lora_adapters(language, r=16, lora_alpha=64, lora_dropout=0.05, target_keywords=_ADAPTED)
            head = SigLIPProjectionHead(input_dim=reader.dim, output_dim=_SPACE)
        if weights.files:
            adapters, text_head = weights.files
            own = [name for name in language.state_dict() if "lora_" not in name]
            load(language, read_tensors(adapters), adapters, may_lack=own)
            load(head, read_tensors(text_head), text_head)
        tower = nn.ModuleDict({"language": language, "head": head})
        stated = {"form": form, "max_tokens": _TOKENS, "pooling": "last token", "language_model": files}
        super().__init__(tower, _SPACE, weights, with_version("spectre-fm"), stated, sentences, cache_size)
        self._form, self._reader = form, reader

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        states: Any = self._reader.encode([self._form.replace("{}", text) for text in texts])
        vectors: Tensor = normalize(self.tower["head"](states), dim=-1)
        return vectors
