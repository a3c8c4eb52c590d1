"""What the text towers of peers have in common: frozen, and a receipt of how they read a text."""

from typing import Any

from torch import nn

from bimcvr.models.peers.weights import PeerWeights
from bimcvr.models.text.base import FrozenTextEncoder


class PeerText(FrozenTextEncoder):
    """A published text tower, frozen: a list of B strings → (B, E), length 1, in the space that it shares with volumes.

    Args:
        tower: the module that holds the weights.
        dim: E, the length of a vector.
        weights: where its weights come from.
        package: whose code runs it, with the version.
        form: how a text is read, as a receipt states it: its form, its length in tokens, the pooling, and the files of
            other models that take part in it.
        sentences: read a text sentence by sentence.
        cache_size: how many vectors are kept in memory.
    """

    peer: str
    """The model's name."""

    licence: str
    """Of the published weights."""

    def __init__(
        self,
        tower: nn.Module,
        dim: int,
        weights: PeerWeights,
        package: str,
        form: dict[str, object],
        sentences: bool,
        cache_size: int,
    ) -> None:
        super().__init__(tower, dim, sentences, cache_size, weights.source)
        self.weights, self.package, self.form = weights, package, form

    @property
    def tower(self) -> Any:
        """The frozen module."""
        return super().tower

    def receipt(self) -> dict[str, object]:
        """Return how a text is read on its way to a vector, and whose weights do it."""
        return {
            **super().receipt(),
            "tower": self.peer,
            "package": self.package,
            "weights": self.weights.facts,
            "licence_of_weights": self.licence,
            "input": {name: part.facts if isinstance(part, PeerWeights) else part for name, part in self.form.items()},
            "vector": "in the space shared with volumes, length 1",
        }
