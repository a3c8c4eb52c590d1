"""Running an application on a port of this machine."""

import logging
import os
import re
import socket
from typing import TYPE_CHECKING, Any

from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.serving.middleware import App

TOKEN = "BIMCVR_TOKEN"  # noqa: S105 - the variable's name
SHORTEST_TOKEN = 16
_GRACE = 3  # seconds that running requests have when the server is stopped


def token_of_environment() -> str:
    """Return the token that the environment sets; empty for none.

    Raises:
        UserError: it can be guessed, or cannot be sent in a header.
    """
    token = os.environ.get(TOKEN, "").strip()
    if token and len(token) < SHORTEST_TOKEN:
        raise UserError(
            f"{TOKEN} has {len(token)} characters: a token that cannot be guessed has at least {SHORTEST_TOKEN}. Make"
            " one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError(f"{TOKEN} may only contain printable ASCII characters without spaces: it is sent in a header.")
    return token


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port.

    Args:
        host: the address.
        port: 0 takes any free one.

    Raises:
        UserError: the port is in use, or the address is none of this machine.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=256
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Cannot listen on {host}, port {port} ({reason}). Give another --port; 0 takes any free one."
        ) from error


def run_server(app: "App", listening: socket.socket) -> None:
    """Serve an application until the process is told to stop. No request is logged.

    Args:
        app: the application, inside the security middleware.
        listening: the socket.
    """
    import uvicorn

    from bimcvr.serving.slow_clients import TimedConnection

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    _refuse_folded_headers()
    uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedConnection,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE,
            ws="none",
        )
    ).run(sockets=[listening])


def _refuse_folded_headers() -> None:
    """Answer 400 to a header that continues on a second line: h11 would join the lines, others read them apart."""
    from uvicorn.protocols.http import h11_impl

    parser: Any = h11_impl
    parser.h11._readers.obs_fold_re = re.compile(rb"(?!)")  # no line continues another
