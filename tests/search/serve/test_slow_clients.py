"""Clients that send nothing, or next to nothing, lose their place; a server that is stopped does not wait for them."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from bimcvr.serving import slow_clients
from bimcvr.serving.middleware import LOOPBACK, SecurityMiddleware
from bimcvr.serving.slow_clients import TimedConnection


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads a body, and answers with its length."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"%6d" % length})


@contextmanager
def served() -> Iterator[tuple[int, uvicorn.Server]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await read_all(scope, receive, send)
        except slow_clients.HTTPException as error:
            await send({"type": "http.response.start", "status": error.status_code, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    secured = SecurityMiddleware(app, LOOPBACK, "", 2**20, frozenset({"/up"}))
    server = uvicorn.Server(
        uvicorn.Config(secured, http=TimedConnection, lifespan="off", log_level="error", timeout_graceful_shutdown=1)
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


def head(length: int) -> bytes:
    return b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


def answer(port: int, *parts: bytes, pause: float = 0.0, dribble: bytes = b"") -> bytes:
    """What a client gets that sends some parts, and then a byte ten times a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        for part in parts:
            line.sendall(part)
            time.sleep(pause)
        line.settimeout(0.1)
        for _ in range(50):
            try:
                return line.recv(1000)
            except TimeoutError:
                line.sendall(dribble)
    raise AssertionError("the connection is still open")


def test_slow_clients_lose_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HEAD_SECONDS", 0.4), ("BODY_SECONDS", 0.4), ("LEAST_RATE", 10_000)):
        monkeypatch.setattr(slow_clients, name, value)
    with served() as (port, _):
        assert answer(port) == b""
        assert answer(port, b"POST /up HT", dribble=b"T") == b""
        assert b" 408 " in answer(port, head(1000), b"x" * 10)
        assert b" 408 " in answer(port, head(1000), b"x" * 10, dribble=b"x")
        # a body of two seconds at the least rate
        assert b" 200 " in answer(port, head(20_000), *[b"x" * 2000] * 10, pause=0.1)
        assert b" 200 " in answer(port, head(0))


def test_a_stopped_server_does_not_wait_for_a_stalled_upload() -> None:
    with served() as (port, server):
        line = socket.create_connection(("127.0.0.1", port))
        line.sendall(head(1000) + b"x")
        time.sleep(0.3)
        began = time.monotonic()
        server.should_exit = True
    assert time.monotonic() - began < 5
    line.close()
