"""Memory and operations of a model's training step, counted on fake tensors without computing anything."""

import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from bimcvr.models.pretrained.frozen import with_hidden
from bimcvr.models.profiling.train_step import make_optimizer, random_batch, trained_parts, volume_step
from bimcvr.models.retriever import Retriever


@dataclass(frozen=True)
class Footprint:
    """Bytes and operations of one process.

    Activations include the workspace alive at the step's peak, gradients then made excluded.

    Attributes:
        weights: parameters and buffers, the frozen text tower's too.
        gradients: of the trainable parameters.
        optimizer: its states after a step.
        batch: the volumes and text features themselves.
        activations: what else is alive at the peak of a step.
        flops: of a step, forward and backward, what checkpointing computes again included; matrix products and
            convolutions only, a multiplication and its addition counted as two.
    """

    weights: int
    gradients: int
    optimizer: int
    batch: int
    activations: int
    flops: int

    @property
    def total(self) -> int:
        """The estimated peak in bytes, without what libraries and the allocator take."""
        return self.weights + self.gradients + self.optimizer + self.batch + self.activations


def parameters(model: Retriever) -> dict[str, tuple[int, int]]:
    """Count each part's trainable and frozen parameters, including towers that `Frozen` hides from `parameters()`."""
    counted = {"text_encoder": model.text_encoder, **trained_parts(model)}
    return {name: (_count(part, True), _count(part, False)) for name, part in counted.items()}


def weight_bytes(model: Retriever) -> int:
    """Return the bytes of all parameters and buffers, a frozen tower's too."""
    return sum(map(_bytes_of, (model.text_encoder, *trained_parts(model).values())))


def footprint(model: Retriever, batch: int, views: int, size: tuple[int, int, int], precision: str) -> Footprint:
    """Count a step on fake tensors, which have shape and type but no content.

    The model's tensors are replaced by fake ones: it cannot be used afterwards.

    Args:
        model: on the CPU.
        batch: studies per process.
        views: views per study.
        size: the grid (D, H, W).
        precision: the trainer's precision.
    """
    weights = weight_bytes(model)
    fake = FakeTensorMode()
    for part in trained_parts(model).values():
        _make_fake(part, fake)
    with fake:
        optimizer = make_optimizer(model)
        trained = [weight for group in optimizer.param_groups for weight in group["params"]]
        data, text = random_batch(model, batch, views, size, "cpu")
        with FlopCounterMode(display=False) as counter:  # in a separate pass, since it keeps tensors alive
            volume_step(model, data, text, precision)
        optimizer.zero_grad()
        with _PeakBytes() as peak:
            volume_step(model, data, text, precision)
        gradients = sum(weight.grad.nbytes for weight in trained if weight.grad is not None)
        optimizer.step()
        states = sum(
            value.nbytes for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
        )
    # gradients that exist at the peak were allocated in the step too: do not count them twice
    activations = peak.most - peak.gradients_at_most(trained)
    return Footprint(weights, gradients, states, data.nbytes + text.nbytes, activations, int(counter.get_total_flops()))


class _PeakBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow which storages made under it are alive, and the most bytes they had together."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        # a serial number beside the size, since the id of a freed storage is soon reused
        self._alive: dict[int, tuple[int, int]] = {}
        self._made = 0
        self._at_most: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        before = {id(value.untyped_storage()) for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)}
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if id(storage) not in self._alive and id(storage) not in before:
                    self._made += 1
                    self._alive[id(storage)] = self._made, storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._freed, id(storage))
        if self.now > self.most:
            self.most, self._at_most = self.now, dict(self._alive.values())
        return out

    def gradients_at_most(self, weights: list[nn.Parameter]) -> int:
        """Return the bytes of those weights' gradients that existed at the peak."""
        storages = [id(weight.grad.untyped_storage()) for weight in weights if weight.grad is not None]
        numbers = {self._alive[storage][0] for storage in storages if storage in self._alive}
        return sum(size for number, size in self._at_most.items() if number in numbers)

    def _freed(self, storage: int) -> None:
        self.now -= self._alive.pop(storage, (0, 0))[1]


def _make_fake(part: nn.Module, fake: FakeTensorMode) -> None:
    for module in with_hidden(part):
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(fake.from_tensor(weight.detach()), requires_grad=weight.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, fake.from_tensor(buffer))


def _count(part: nn.Module, trainable: bool) -> int:
    weights = {weight for module in with_hidden(part) for weight in module.parameters(recurse=False)}
    return sum(weight.numel() for weight in weights if weight.requires_grad == trainable)


def _bytes_of(part: nn.Module) -> int:
    values = {
        value
        for module in with_hidden(part)
        for value in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    }
    return sum(value.nbytes for value in values)
