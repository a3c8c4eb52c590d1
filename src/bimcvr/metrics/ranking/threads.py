"""Many small computations, each on one core from its beginning to its end."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import torch

T = TypeVar("T")


class OneCoreEach:
    """A context in which torch computes in one thread, and as many calls go side by side as it had threads before.

    torch itself would divide every operation among its threads and let them wait for each other after it. They wait by
    counting; where other processes want the cores too, one of them waits for its core each time, so that ten short
    operations wait longer than one long one.

    Args:
        device: where is computed; launches for a GPU are left to this thread.
    """

    def __init__(self, device: torch.device) -> None:
        self._before = torch.get_num_threads()
        self._threads = self._before if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(max(1, self._threads), "ranks", torch.set_num_threads, (1,))

    def __enter__(self) -> Self:
        if self._threads > 1:
            torch.set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._threads > 1:
            torch.set_num_threads(self._before)

    def map(self, work: Callable[..., T], items: Iterable[tuple[Any, ...]]) -> list[T]:
        """Return `work(*item)` of each item; with several threads, `work` runs in several at a time."""
        if self._threads < 2:
            return [work(*item) for item in items]
        # these are a thread's own, and a tensor made in inference mode cannot be changed outside of it
        inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

        def one(item: tuple[Any, ...]) -> T:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                return work(*item)

        return list(self._pool.map(one, items))
