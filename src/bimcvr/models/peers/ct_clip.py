"""CT-CLIP (Hamamci et al. 2024, https://arxiv.org/abs/2403.17834): CT-RATE's own model, from a checkout of its code."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bimcvr.atomic_files import sha256_of
from bimcvr.contracts import Features
from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.models.peers.cxr_bert import TOKENIZER, TOKENS, cxr_bert_tokenizer
from bimcvr.models.peers.first_token import FirstToken
from bimcvr.models.peers.text import PeerText
from bimcvr.models.peers.volume import PeerVolume, TowerInput, one_token
from bimcvr.models.peers.weights import PeerWeights, drawn_at_random, load, read_tensors, refuse_reduced

FILE = "CT-CLIP_v2.pt"
_CODE = "https://github.com/ibrahimethemhamamci/CT-CLIP"
_SPACE = 512
_SHAPE = {
    "dim": 512,
    "codebook_size": 8192,
    "image_size": 480,
    "patch_size": 20,
    "temporal_patch_size": 10,
    "spatial_depth": 4,
    "temporal_depth": 4,
    "dim_head": 32,
    "heads": 8,
    "slices": 240,
}


class CtClipVolume(PeerVolume):
    """CT-CLIP's volume tower: 480 × 480 × 240 voxels of 0.75 × 0.75 × 1.5 mm → one vector (B, 512), or 24³ tokens.

    Its authors read files as they are stored, which is right for CT-RATE's axes (LPS) alone; here any file is turned to
    them. Its code is not on PyPI: `transformer_maskgit` of a checkout is imported, as you have installed it.

    Args:
        model: CT-CLIP_v2.pt, from the dataset ibrahimhamamci/CT-RATE, or the folder that holds it.
        projected: see `PeerVolume`. The mean of its tokens without the projection hardly differs between volumes.
        random_weights: nothing published is loaded, and results say "random weights".
        reduced: arguments of a smaller CTViT, and its number of `slices`; with random weights only.

    Raises:
        UserError: its code cannot be imported, or the file does not hold the weights of this model.
        WeightsAbsent: there is no such file.
    """

    peer, licence = "CT-CLIP", "CC-BY-NC-SA-4.0"

    def __init__(
        self,
        model: str = FILE,
        projected: bool = True,
        random_weights: bool = False,
        reduced: dict[str, int] | None = None,
    ) -> None:
        refuse_reduced(reduced, random_weights)
        weights, code = _weights(model, random_weights), _code()
        shape = {**_SHAPE, **(reduced or {})}
        slices, side = shape.pop("slices"), shape["image_size"]
        with drawn_at_random():
            transformer = code.CTViT(**shape)
            across = side // shape["patch_size"]
            head = nn.Linear(across**2 * shape["dim"], _SPACE, bias=False) if projected else nn.Identity()
        for path in weights.files:
            load(transformer, read_tensors(path, "visual_transformer."), path)
            if projected:
                load(head, read_tensors(path, "to_visual_latent."), path)
        _keep_distances(transformer.spatial_rel_pos_bias, across)
        wanted = TowerInput("SLP", (slices, side, side), (1.5, 0.75, 0.75), scaled=(-1.0, 1.0))
        tower = nn.ModuleDict({"transformer": transformer, "head": head})
        dim = _SPACE if projected else shape["dim"]
        super().__init__(tower, wanted, weights, _stated(code), projected, dim)

    def encode(self, prepared: Tensor) -> Features:
        """Encode (B, 1, S, L, P) in [-1, 1]."""
        states = self.tower["transformer"](prepared, return_encoded_tokens=True)  # (B, T, H, W, C)
        if not self.projected:
            tokens = states.flatten(1, 3)
            return Features(tokens.mean(1), tokens)
        return one_token(self.tower["head"](states.mean(1).flatten(1)))


class CtClipText(PeerText):
    """CT-CLIP's text tower: CXR-BERT's first token, projected → (B, 512), length 1.

    Args:
        model: as for `CtClipVolume`; the file holds both towers.
        tokenizer: `microsoft/BiomedVLP-CXR-BERT-specialized`, or its folder; vocab.txt is read, no code is run.
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors.
        random_weights: nothing published is loaded, and results say "random weights".
        reduced: BERT's settings of a smaller model (`hidden_size`, `num_hidden_layers` …); with random weights only.
        cache_size: how many vectors are kept in memory.

    Raises:
        UserError: the file does not hold the weights of this model.
        WeightsAbsent: a file is not here and cannot be downloaded.
    """

    peer, licence = "CT-CLIP", "CC-BY-NC-SA-4.0"

    def __init__(
        self,
        model: str = FILE,
        tokenizer: str = TOKENIZER,
        sentences: bool = False,
        random_weights: bool = False,
        reduced: dict[str, int] | None = None,
        cache_size: int = 100_000,
    ) -> None:
        from transformers import BertConfig, BertModel

        refuse_reduced(reduced, random_weights)
        weights, (words, vocabulary) = _weights(model, random_weights), cxr_bert_tokenizer(tokenizer)
        with drawn_at_random():
            language = BertModel(BertConfig(vocab_size=len(words), **(reduced or {})))
            head = nn.Linear(language.config.hidden_size, _SPACE, bias=False)
        tower = FirstToken(language, head)
        tower.load_published(weights, "text_transformer.", "to_text_latent.")
        form = {
            "form": "without quotation marks and brackets",
            "max_tokens": TOKENS,
            "pooling": "first token",
            "tokenizer": vocabulary,
        }
        super().__init__(tower, _SPACE, weights, "transformers, as CT-CLIP's code", form, sentences, cache_size)
        self._tokenizer = words

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        plain = [text.translate(_DROPPED) for text in texts]
        tokens = self._tokenizer(plain, max_length=TOKENS, padding=True, truncation=True, return_tensors="pt")
        vectors: Tensor = self.tower({name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")})
        return vectors


_DROPPED = str.maketrans("", "", "\"'()")


def _weights(model: str, random_weights: bool) -> PeerWeights:
    if not random_weights and not Path(model).expanduser().exists():
        raise WeightsAbsent(
            f"There is no file or folder '{model}'. Where there is a network run `hf download --repo-type dataset"
            " ibrahimhamamci/CT-RATE models/CT-CLIP-Related/CT-CLIP_v2.pt --local-dir DIR` (its owners grant access),"
            " and give the path of CT-CLIP_v2.pt as `model`."
        )
    return PeerWeights(model, [FILE], random_weights)


def _code() -> Any:
    """Import CT-CLIP's own code, from where the user has installed it."""
    try:
        return importlib.import_module("transformer_maskgit.ctvit")
    except ImportError as error:
        raise UserError(
            f"CT-CLIP's code cannot be imported ({error}). It is not on PyPI: `git clone {_CODE}`, and install what its"
            " README says (`pip install ./CT-CLIP/transformer_maskgit`) into this environment."
        ) from error


def _keep_distances(bias: Any, across: int) -> None:
    """Give CT-CLIP's position bias the distances of patches, which its code would make on the first GPU every time.

    Args:
        bias: the module.
        across: patches along each side of a slice.
    """
    place = torch.cartesian_prod(torch.arange(across), torch.arange(across))
    apart = place[:, None] - place[None]  # (N, N, 2)
    bias.rel_pos = apart.sign() * apart.abs().add(1).log()
    bias.cache_rel_pos = True


def _stated(code: Any) -> str:
    return f"transformer_maskgit, ctvit.py {sha256_of(Path(code.__file__))[:12]}"
