"""How much the server does at a time: one model run or whole volume, four reads of rows, one upload."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import HTTPException

_MOST_WAITING = 8
"""Uploads that may wait; more are refused and told to try again."""

_T = TypeVar("_T")


class ConcurrencyLimits:
    """Runs blocking work in threads: one at a time at the model, four at a time at the rows of the index."""

    def __init__(self) -> None:
        self._model, self._rows, self._upload = CapacityLimiter(1), CapacityLimiter(4), asyncio.Semaphore(1)
        # always the same thread: each thread that calls torch keeps buffers and workers of its own
        self._model_thread = ThreadPoolExecutor(1, "model")
        self._uploads = 0

    async def run_at_model(self, work: Callable[[], _T]) -> _T:
        """Run something that uses the model or reads a whole volume, one at a time."""
        async with self._model:
            with CancelScope(shield=True):
                result = await asyncio.wrap_future(self._model_thread.submit(work))
            return result

    async def run_at_rows(self, work: Callable[[], _T]) -> _T:
        """Run something that only reads rows of the index, four at a time."""
        return await to_thread.run_sync(work, limiter=self._rows)

    @asynccontextmanager
    async def uploading(self) -> AsyncIterator[None]:
        """Wait until no other upload is written to the disk; the body is not read before.

        Raises:
            HTTPException: too many uploads are waiting.
        """
        if self._uploads > _MOST_WAITING:
            raise HTTPException(429, "Too many volumes are waiting. Try again in a minute.", {"retry-after": "60"})
        self._uploads += 1
        try:
            async with self._upload:
                yield
        finally:
            self._uploads -= 1
