"""A language model whose first token, mapped linearly, is a text's vector: how CT-CLIP and Merlin read reports."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.models.peers.weights import PeerWeights, load, read_tensors


class FirstToken(nn.Module):
    """The language model and the linear map.

    Args:
        language: the language model, with `last_hidden_state` (n, T, C) in its output.
        head: (n, C) → (n, E).
    """

    def __init__(self, language: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.language, self.head = language, head

    def load_published(self, weights: PeerWeights, language: str, head: str) -> None:
        """Load the published weights; nothing where none are read.

        Args:
            weights: the files.
            language: how the names of the language model's tensors begin there.
            head: how those of the linear map do.

        Raises:
            UserError: a file does not hold the weights of this model.
        """
        for path in weights.files:
            tensors = read_tensors(path, language)
            tensors.pop("embeddings.position_ids", None)  # a constant that older versions saved
            load(self.language, tensors, path)
            load(self.head, read_tensors(path, head), path)

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors (n, E) of n tokenised texts, scaled to length 1."""
        states = self.language(**tokens).last_hidden_state
        vectors: Tensor = normalize(self.head(states[:, 0]), dim=-1)
        return vectors
