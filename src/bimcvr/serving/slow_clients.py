"""Limits on clients that hold a place without sending: a request's head and its body have to arrive in time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

HEAD_SECONDS = 10.0
"""How long a connection may take to send a request's head."""

BODY_SECONDS = 10.0
"""How long the server waits for the parts of a body in all, beside the time that its bytes take at LEAST_RATE."""

LEAST_RATE = 16 * 1024
"""Bytes a second that a body has to arrive at."""


def in_time(receive: Receive) -> Receive:
    """Return an ASGI `receive` that gives a slow body up.

    Only the time spent waiting for the client counts, not that between the calls.

    Args:
        receive: the one of the request.
    """
    received, waited, complete = 0, 0.0, False

    async def next_message() -> MutableMapping[str, Any]:
        nonlocal received, waited, complete
        if complete:  # now it waits for the client to hang up
            return await receive()
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(BODY_SECONDS + received / LEAST_RATE - waited):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, "The request arrives too slowly.", {"connection": "close"}) from error
        waited += clock() - began
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        return message

    return next_message


class TimedConnection(H11Protocol):
    """Closes a connection that sends no whole head of a request in time; uvicorn's limit begins after a response."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_watching()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._close)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
