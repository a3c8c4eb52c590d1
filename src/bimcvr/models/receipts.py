"""What an encoder states of itself: how its input is prepared, and whose weights see it."""

from torch import nn

from bimcvr.contracts import HasReceipt
from bimcvr.models.pretrained.frozen import with_hidden


def receipt_of(encoder: nn.Module) -> dict[str, object]:
    """Return the receipt of an encoder, or of the first part of it that has one; it can be written as JSON.

    Args:
        encoder: a volume or text encoder, of any class.

    Returns:
        What its `receipt` says, or, where no part has one, its class and the source of its weights.
    """
    for part in with_hidden(encoder):
        if isinstance(part, HasReceipt):
            return part.receipt()
    source = str(getattr(encoder, "source", ""))
    return {"tower": type(encoder).__name__, "weights": {"source": source, "random": False}}
