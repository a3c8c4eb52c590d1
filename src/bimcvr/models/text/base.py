"""Base class of frozen text encoders: the tower stays out of training and checkpoints, features are cached."""

import hashlib
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.contracts import TextEncoder
from bimcvr.data.text.sentences import split_sentences
from bimcvr.models.pretrained.frozen import Frozen


class FrozenTextEncoder(TextEncoder):
    """A text encoder whose weights never change: a list of B strings → (B, E) float32, on its device.

    The tower is hidden from `parameters`, `buffers`, `modules` and `state_dict`, so that no optimiser,
    checkpoint or DDP sees it; it is always in eval mode and in float32, under autocast too, and follows the
    module from device to device. Features are computed once for each string (or sentence), each by itself, and cached
    in memory: a string has one vector, in every process and whatever else its batch contains.

    Args:
        tower: the module that holds the weights.
        dim: E, the length of a feature vector.
        sentences: read a text sentence by sentence: the mean of its sentences' vectors, each scaled to
            length 1.
        cache_size: how many strings' vectors are cached; the least recently used are dropped first.
        source: the model's name, as results state it.
    """

    def __init__(self, tower: nn.Module, dim: int, sentences: bool, cache_size: int, source: str) -> None:
        super().__init__()
        self.source = source
        self.dim = dim
        self.sentences = sentences
        self.cache_size = cache_size
        self._frozen = Frozen(tower)
        self._cache: OrderedDict[bytes, Tensor] = OrderedDict()

    @property
    def tower(self) -> nn.Module:
        """The frozen module."""
        return self._frozen.tower

    @property
    def device(self) -> torch.device:
        """Where the tower is and where features are returned."""
        return self._frozen.device

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode whatever `mode` is: with dropout, one string would have many vectors."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, texts: list[str]) -> Tensor:
        """Encode B texts → (B, E) float32 without gradient."""
        features = by_sentence(texts, self._features) if self.sentences else self._features(texts)
        return features.to(self.device)

    def _features(self, texts: list[str]) -> Tensor:
        """Look up or compute one vector a string → (len(texts), E) on the CPU."""
        keys = [_key(text) for text in texts]
        vectors_of = {key: self._cache[key] for key in keys if key in self._cache}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors_of}
        for key, text in missing.items():
            # alone: beside others a text's vector differs in its last bits, and a resumed run would not end as another
            with torch.autocast(self.device.type, enabled=False):
                vectors_of[key] = self.encode([text]).float().cpu()[0].clone()
        for key in dict.fromkeys(keys):
            self._cache[key] = vectors_of[key]
            self._cache.move_to_end(key)
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        return torch.stack([vectors_of[key] for key in keys])

    def receipt(self) -> dict[str, object]:
        """Return how a text is read on its way to a vector, and whose weights do it."""
        return {
            "tower": type(self).__name__,
            "weights": {"source": self.source, "random": False},
            "sentences": self.sentences,
            "dim": self.dim,
        }

    @abstractmethod
    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of texts → (len(texts), E), without the cache."""


def by_sentence(texts: list[str], encode: Callable[[list[str]], Tensor]) -> Tensor:
    """Read texts sentence by sentence → (B, E), each the mean of its sentences' vectors, scaled to length 1 before.

    Args:
        texts: B texts.
        encode: turns n sentences into (n, E).
    """
    parts = [split_sentences(text) for text in texts]
    vectors = normalize(encode([sentence for part in parts for sentence in part]), dim=-1)
    return torch.stack([part.mean(dim=0) for part in torch.split(vectors, [len(part) for part in parts])])


def _key(text: str) -> bytes:
    """Return a text's key in the cache: a hash, since a report may be long and is patient data."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
