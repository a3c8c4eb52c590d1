"""Embeddings that are fit to be scored: checked once, normalised in float64 on demand."""

import torch
from torch import Tensor

from bimcvr.errors import UserError

CHUNK = 256
"""Rows that are held in float64 at a time: few enough to stay in the cache."""


class UnitVectors:
    """Embeddings as unit vectors, so that a product of two is their cosine.

    Args:
        values: (N, E) floating point, used as float32.
        name: what an error calls them.
        device: where they are needed.

    Raises:
        UserError: A row is not finite or has length zero, or the dtype is not floating point.

    Example:
        >>> UnitVectors(torch.tensor([[3.0, 4.0]]), "image", torch.device("cpu")).exact(slice(None))
        tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """

    def __init__(self, values: Tensor, name: str, device: torch.device) -> None:
        if not values.is_floating_point():
            raise UserError(f"the {name} embeddings are {values.dtype}, not floats: save them as float32")
        self.values = values.to(device, torch.float32)
        self.length = torch.empty(len(values), dtype=torch.float64, device=device)
        for part in self._parts():
            self.length[part] = self.values[part].double().norm(dim=1)
        for bad, what in ((~self.length.isfinite(), "not finite"), (self.length == 0, "all zero")):
            if bad.any():
                raise UserError(_complaint(name, what, bad))

    def exact(self, rows: slice | Tensor) -> Tensor:
        """Return the rows in float64, (..., E) for indices (...)."""
        return self.values[rows].double() / self.length[rows].unsqueeze(-1)

    def rounded(self) -> Tensor:
        """Return all rows (N, E), rounded to float32 from float64."""
        rounded = torch.empty_like(self.values)
        for part in self._parts():
            rounded[part] = self.exact(part)
        return rounded

    def _parts(self) -> list[slice]:
        return [slice(i, i + CHUNK) for i in range(0, len(self.values), CHUNK)]


def _complaint(name: str, what: str, bad: Tensor) -> str:
    rows = bad.nonzero().flatten().tolist()
    named = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    return (
        f"{len(rows)} of {len(bad)} {name} embeddings are {what} (row {named}), so no score of theirs means "
        "anything: training has diverged or the file is damaged. Go back to an earlier checkpoint, lower the "
        "learning rate, or train with --trainer.precision 32-true"
    )
