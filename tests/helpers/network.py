"""A network that is off, and counts who tries it."""

import socket
from typing import Any

import pytest


def turn_off(patch: pytest.MonkeyPatch) -> list[Any]:
    """Make every look-up and connection fail; returns the list of those that were tried."""
    tried: list[Any] = []

    def refuse(*args: Any, **_: Any) -> None:
        tried.append(args[-1] if args else None)
        raise OSError("the network is off in this test")

    patch.setattr(socket.socket, "connect", refuse)
    patch.setattr(socket.socket, "connect_ex", refuse)
    patch.setattr(socket, "getaddrinfo", refuse)
    return tried
