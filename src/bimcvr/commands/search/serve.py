"""The command `serve`: the search page and its API on this machine."""

import logging
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError
from bimcvr.extras import require_extra
from bimcvr.parsing.trust import split_trust

if TYPE_CHECKING:
    from bimcvr.search.server.service import SearchService

TOKEN = "BIMCVR_TOKEN"  # noqa: S105 - the variable's name
_SHORTEST_TOKEN = 16
_CACHED_TEXTS = 4096
_GRACE = 3  # seconds that running requests have when the server is stopped
_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    index: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    checkpoint: Path | None = None,
    allowed_hosts: Sequence[str] = (),
    max_upload_mib: int = 1024,
    anonymous: bool = False,
    device: str | None = None,
    trust: str = "",
) -> int:
    """Serve the search page and its API. Nothing is sent to other machines, and neither queries nor results are logged.

    If the environment variable BIMCVR_TOKEN is set, every API request must send it (`Authorization: Bearer …`); the
    page asks for it. Only this machine can reach the server unless --host says otherwise, and then a token is required.

    Args:
        index: the folder of the search index.
        host: the address to listen on.
        port: the TCP port; 0 takes any free one.
        checkpoint: the checkpoint of a trained model, the one that made the index; by default the file that the index
            names.
        allowed_hosts: names by which the server may be addressed besides localhost, as in a reverse proxy:
            `--allowed_hosts '[ct.local]'`.
        max_upload_mib: the largest volume that may be uploaded, in MiB.
        anonymous: hide the ids of studies: cases get opaque names that are valid until the server ends, and
            identifying columns, paths and names are not sent.
        device: where the model runs: cpu or cuda; by default a GPU where there is one.
        trust: classes, modules or packages of others whose code a checkpoint may run, with commas between.

    Returns:
        The exit code.

    Raises:
        UserError: the index or model cannot be opened, the address is in use, or the options are not safe.
    """
    token = os.environ.get(TOKEN, "").strip()
    names = [name.strip() for name in allowed_hosts]
    _check_safety(host, token, names)
    require_extra("search")
    import uvicorn

    from bimcvr.search.index.reader import Index
    from bimcvr.search.query.encoder import load_search_model
    from bimcvr.search.server.app import create_app
    from bimcvr.search.server.middleware import LOOPBACK
    from bimcvr.search.server.options import ServerOptions
    from bimcvr.search.server.service import SearchService
    from bimcvr.search.server.slow_clients import TimedConnection

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    with Index.open(index) as opened:
        model = load_search_model(opened, checkpoint, device, trust=split_trust(trust))
    if model:
        model.limit_text_cache(_CACHED_TEXTS)
    service = SearchService(index, model, anonymous)
    app = create_app(service, ServerOptions(token, (*LOOPBACK, *names), max_upload_mib))
    _refuse_folded_headers()
    server = uvicorn.Server(
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
    )
    with _listen(host, port) as listening:
        say(_headline(service, host, listening.getsockname()[1], bool(token)), flush=True)
        try:
            server.run(sockets=[listening])
        finally:
            service.close()
    return 0


def _refuse_folded_headers() -> None:
    """Answer 400 to a header that continues on a second line: h11 would join the lines, others read them apart."""
    from uvicorn.protocols.http import h11_impl

    parser: Any = h11_impl
    parser.h11._readers.obs_fold_re = re.compile(rb"(?!)")  # no line continues another


def _headline(service: "SearchService", host: str, port: int, has_token: bool) -> str:
    facts = service.snapshot().index.facts
    kind = f"{'partly ' if facts['has_patients'] else ''}phantom (synthetic) studies" if facts["phantom"] else "studies"
    address = {"127.0.0.1": "localhost", "::1": "[::1]"}.get(host, host)
    limits = "" if service.model else ", without a model: keywords, cases and words of reports only"
    return (
        f"{facts['studies']:,} {kind}{limits}{', ids hidden' if service.names.anonymous else ''}\n"
        f"http://{address}:{port}/{'  (requires the token)' if has_token else ''}  Press Ctrl+C to stop."
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=256
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Cannot listen on {host}, port {port} ({reason}). Give another --port; 0 takes any free one."
        ) from error


def _check_safety(host: str, token: str, names: Sequence[str]) -> None:
    if token and len(token) < _SHORTEST_TOKEN:
        raise UserError(
            f"{TOKEN} has {len(token)} characters: a token that cannot be guessed has at least {_SHORTEST_TOKEN}. Make"
            " one with: python -c 'import secrets; say(secrets.token_urlsafe(32))'"
        )
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError(f"{TOKEN} may only contain printable ASCII characters without spaces: it is sent in a header.")
    if host not in _LOCAL and not token:
        raise UserError(
            f"--host {host} lets other machines connect, and reports are patient data: set {TOKEN} in the environment"
            f" to a secret of at least {_SHORTEST_TOKEN} characters, or leave --host out."
        )
    if host not in _LOCAL and not names:
        raise UserError(
            f"--host {host} needs --allowed_hosts too: the names by which clients address this machine, like "
            "'[ct.hospital.local]'."
        )
