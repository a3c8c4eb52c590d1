"""Fine-tuning a text encoder that is frozen otherwise, as CLIP4Clip does with CLIP's."""

from typing import cast

from torch import Tensor

from bimcvr.contracts import TextEncoder
from bimcvr.models.text.base import FrozenTextEncoder, by_sentence


class TunedText(TextEncoder):
    """A text encoder whose tower is trained: its weights are in the checkpoint, and features are not cached.

    Args:
        encoder: any frozen text encoder, as OpenClipText; its weights are where training starts.
        lr_factor: the tower learns at this share of the optimiser's rate; CLIP4Clip takes 1e-3 (1e-7 of 1e-4).
    """

    def __init__(self, encoder: FrozenTextEncoder, lr_factor: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.lr_factor, self.dim = encoder, lr_factor, encoder.dim
        self.source = f"{encoder.source}, trained"
        self.tower = encoder.tower.requires_grad_(True).train()

    def receipt(self) -> dict[str, object]:
        """Return how a text is read on its way to a vector; the weights are not those that are published."""
        receipt = self.encoder.receipt()
        return {**receipt, "weights": {**cast(dict[str, object], receipt["weights"]), "source": self.source}}

    def forward(self, texts: list[str]) -> Tensor:
        """Encode B texts → (B, E), with gradient."""
        return by_sentence(texts, self.encoder.encode) if self.encoder.sentences else self.encoder.encode(texts)
