"""Security middleware: checks host, origin, token and size of every request, and sets the headers of every response."""

import hmac
import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException

from bimcvr.serving.slow_clients import Receive, in_time

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST_JSON = 64 * 1024
"""The largest body in bytes of a request that uploads no volume."""

API = "/api/"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Sent with every response. There is no CORS header: pages of other origins cannot read anything."""


_log = logging.getLogger("bimcvr.serve")
# a name, an IPv4 address or a bracketed IPv6 address, and at most a port behind it
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class SecurityMiddleware:
    """The outermost layer of the application.

    Args:
        app: the ASGI application inside.
        hosts: names by which the server may be addressed, without port: a page whose own name resolves to this machine
            (DNS rebinding) is refused.
        token: what `Authorization: Bearer` must send for all of `/api/`; empty for none.
        upload_bytes: the largest body of an upload.
        uploads: the paths that take uploads.
    """

    def __init__(
        self, app: App, hosts: tuple[str, ...], token: str, upload_bytes: int, uploads: frozenset[str]
    ) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.token = token.encode()
        self.upload_bytes = upload_bytes
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None
        started = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                kept = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if name.decode("latin-1").lower() not in HEADERS
                ]
                kept = [pair for pair in kept if pair[0].lower() != b"server"]
                message = {
                    **message,
                    "headers": kept + [(name.encode(), value.encode()) for name, value in HEADERS.items()],
                }
            await send(message)

        limit = self.upload_bytes if scope["path"] in self.uploads else MOST_JSON
        if refusal := self._refusal(scope, limit):
            return await _send_error(with_headers, *refusal)
        received, receive_in_time = 0, in_time(receive)

        async def counted() -> MutableMapping[str, Any]:
            nonlocal received
            message = await receive_in_time()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(*_too_large(limit), {"connection": "close"})
            return message

        try:
            await self.app(scope, counted, with_headers)
        except Exception as error:
            # only where it happened: the message may quote a report
            origin = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("a request failed: %s in %s, line %s", type(error).__name__, origin.filename, origin.lineno)
            if not started:
                await _send_error(with_headers, 500, "The server failed on this request; its log says where.")
        return None

    def _refusal(self, scope: Scope, limit: int) -> tuple[int, str] | None:
        """Return why a request is refused before its body is read: status and message."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        host = _parse_authority(headers[b"host"][0]) if len(headers.get(b"host", [])) == 1 else None
        if host is None or host[0] not in self.hosts:
            return 400, "This server does not accept that host name. Start it with --allowed_hosts if it should."
        if not all(_is_origin_of(origin, host) for origin in headers.get(b"origin", [])):
            return 403, "Pages of other sites may not use this server."
        if any(site not in (b"same-origin", b"none") for site in headers.get(b"sec-fetch-site", [])) and scope[
            "path"
        ].startswith(API):
            return 403, "Pages of other sites may not use this server."
        if self.token and scope["path"].startswith(API) and not self._has_token(headers.get(b"authorization", [])):
            return 401, "This server requires its token: Authorization: Bearer …"
        if b"transfer-encoding" in headers and b"content-length" in headers:
            return 400, "The request says in two ways where it ends."  # a proxy before may have taken the other one
        length = headers.get(b"content-length", [b"0"])
        if len(length) != 1 or not length[0].isdigit():
            return 400, "The length of the request is not a number."
        if int(length[0]) > limit:
            return _too_large(limit)
        return None

    def _has_token(self, authorization: list[bytes]) -> bool:
        kind, _, token = authorization[0].partition(b" ") if len(authorization) == 1 else (b"", b"", b"")
        return kind.lower() == b"bearer" and hmac.compare_digest(token, self.token)


def _too_large(limit: int) -> tuple[int, str]:
    size = f"{limit / 2**20:.0f} MiB" if limit >= 2**20 else f"{limit // 1024} KiB"
    return 413, f"The request is larger than {size}, the limit of this server for it."


def _parse_authority(value: bytes) -> tuple[str, str] | None:
    """Split `name[:port]` into name and port, which may be empty; None if it is anything else."""
    match = _AUTHORITY.fullmatch(value.decode("latin-1").lower())
    return (match.group(1), match.group(2) or "") if match else None


def _is_origin_of(origin: bytes, host: tuple[str, str]) -> bool:
    """Return whether a page of an origin was served under the name and port of this request."""
    scheme, _, rest = origin.partition(b"://")
    default = _DEFAULT_PORTS.get(scheme.decode("latin-1").lower())
    page = _parse_authority(rest)
    return default is not None and page is not None and (page[0], page[1] or default) == (host[0], host[1] or default)


async def _send_error(send: Send, status: int, message: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    # the body was not read, and what follows on this connection would be taken for another request
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": message}).encode()})
