"""A frozen network: not trained, not in checkpoints, on the device of the module that holds it."""

from collections.abc import Callable, Iterator
from typing import Any, Self, cast

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """Holds a network whose weights never change.

    It is hidden from `parameters`, `buffers`, `modules` and `state_dict`, so that no optimiser, checkpoint or DDP sees
    it; its weights stay in eval mode and in float32, and it follows the module from device to device.

    Args:
        tower: the module that holds the weights.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        # in a tuple, where nn.Module does not find it
        self._hidden = (tower.float().eval().requires_grad_(False),)
        self._device = torch.device("cpu")

    @property
    def tower(self) -> nn.Module:
        """The frozen module."""
        return self._hidden[0]

    @property
    def device(self) -> torch.device:
        """Where the tower is."""
        return self._device

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode whatever `mode` is: with dropout, one input would have many feature vectors."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # `to`, `cuda`, `half` … all end here. The tower follows to another device and keeps its precision.
        device = fn(torch.zeros((), device=self._device)).device
        if device != self._device:
            self.tower.to(device)
            self._device = device
        return cast(Self, super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Run the tower without gradient."""
        return self.tower(*inputs)


def with_hidden(part: nn.Module) -> Iterator[nn.Module]:
    """Yield a part and all its modules, those that `Frozen` hides too."""
    for module in part.modules():
        yield module
        if isinstance(module, Frozen):
            yield from with_hidden(module.tower)
