"""Validated embeddings: checked once, normalised in float64 on demand."""

from collections.abc import Callable

import torch
from torch import Tensor

from bimcvr.errors import UserError

CHUNK = 256
"""Rows converted to float64 at a time: few enough to fit into the processor's cache."""


class UnitVectors:
    """Embeddings as unit vectors: the dot product of two rows is their cosine.

    Args:
        values: (N, E) floating point, used as float32.
        name: What an error message calls them.
        device: The device to hold them.
        row_name: Names a row in an error message; by its position by default.

    Raises:
        UserError: A row is not finite or has length zero, or the dtype is not floating point.

    Example:
        >>> UnitVectors(torch.tensor([[3.0, 4.0]]), "image", torch.device("cpu")).exact(slice(None))
        tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """

    def __init__(
        self, values: Tensor, name: str, device: torch.device, row_name: Callable[[int], str] = "row {}".format
    ) -> None:
        if not values.is_floating_point():
            raise UserError(f"the {name} embeddings are {values.dtype}, not floats: save them as float32")
        self.values = values.to(device, torch.float32)
        parts = torch.split(self.values, CHUNK)
        self.length = torch.cat([torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in parts])
        for bad, what in ((~self.length.isfinite(), "not finite"), (self.length == 0, "all zero")):
            if bad.any():
                raise UserError(_message(name, what, bad, row_name))

    def exact(self, rows: slice | Tensor) -> Tensor:
        """Return the rows in float64, (..., E) for indices (...)."""
        exact: Tensor = self.values[rows].double() / self.length[rows].unsqueeze(-1)
        return exact

    def cosine(self, rows: Tensor, other: "UnitVectors", items: Tensor) -> Tensor:
        """Return the cosines (M,) of M pairs in float64: of row `rows[i]` with row `items[i]` of `other`."""
        product = (self.values[rows].double() * other.values[items].double()).sum(-1)
        cosine: Tensor = product / (self.length[rows] * other.length[items])
        return cosine

    def cosines(self, rows: Tensor, other: "UnitVectors", items: Tensor) -> Tensor:
        """Return the cosines (B, M) in float64: of row `rows[b]` with each of the rows `items[b]` (M,) of `other`."""
        parts = []
        at_once = max(1, CHUNK // items.shape[1])
        for row, item in zip(torch.split(rows, at_once), torch.split(items, at_once), strict=True):
            product = torch.bmm(other.values[item].double(), self.values[row].double().unsqueeze(2)).squeeze(2)
            parts.append(product / (self.length[row, None] * other.length[item]))
        return torch.cat(parts)

    def rounded(self) -> Tensor:
        """Return all rows (N, E) in float32, each value off by at most two roundings (2⁻²³ of itself)."""
        rounded: Tensor = self.values / self.length.float().unsqueeze(-1)
        return rounded


def _message(name: str, what: str, bad: Tensor, row_name: Callable[[int], str]) -> str:
    rows = bad.nonzero().flatten().tolist()
    named = ", ".join(map(row_name, rows[:5])) + (", …" if len(rows) > 5 else "")
    return (
        f"{len(rows)} of {len(bad)} {name} embeddings are {what} ({named}), so no score of theirs means "
        "anything: training has diverged or the file is damaged. Go back to an earlier checkpoint, lower the "
        "learning rate, or train with --trainer.precision 32-true"
    )
