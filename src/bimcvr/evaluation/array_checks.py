"""Checks of single arrays of a file of embeddings."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bimcvr.errors import UserError
from bimcvr.metrics.ranking.unit_vectors import UnitVectors


def scorable(table: np.ndarray, name: str, where: str, row_name: Callable[[int], str] = "row {}".format) -> Tensor:
    """Return vectors that can be scored, as float32, from any byte order."""
    try:
        vectors = torch.from_numpy(np.ascontiguousarray(table, dtype=table.dtype.newbyteorder("=")))
        UnitVectors(vectors, name, torch.device("cpu"), row_name)
    except TypeError as error:
        raise UserError(
            f"{where}: the {name} embeddings are {table.dtype}, not floats: save them as float32"
        ) from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return vectors.float()


def names_of(array: np.ndarray, what: str) -> list[str]:
    """Return a column of names; bytes are read as UTF-8."""
    if array.ndim != 1:
        raise UserError(
            f"{what} has the shape {array.shape}. It needs one name a row, (N,): pass it through numpy.ravel."
        )
    try:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in array.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"{what} holds bytes that are not UTF-8. Save it as text (dtype str).") from error
