"""The command `serve`: the search page and its API on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError
from bimcvr.extras import require_extra
from bimcvr.parsing.trust import split_trust
from bimcvr.serving.run import SHORTEST_TOKEN, TOKEN, listen, run_server, token_of_environment

if TYPE_CHECKING:
    from bimcvr.search.server.service import SearchService

_CACHED_TEXTS = 4096
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
    token = token_of_environment()
    names = [name.strip() for name in allowed_hosts]
    _check_safety(host, token, names)
    require_extra("search")
    from bimcvr.search.index.reader import Index
    from bimcvr.search.query.encoder import load_search_model
    from bimcvr.search.server.app import create_app
    from bimcvr.search.server.options import ServerOptions
    from bimcvr.search.server.service import SearchService
    from bimcvr.serving.middleware import LOOPBACK

    with Index.open(index) as opened:
        model = load_search_model(opened, checkpoint, device, trust=split_trust(trust))
    if model:
        model.limit_text_cache(_CACHED_TEXTS)
    service = SearchService(index, model, anonymous)
    app = create_app(service, ServerOptions(token, (*LOOPBACK, *names), max_upload_mib))
    with listen(host, port) as listening:
        say(_headline(service, host, listening.getsockname()[1], bool(token)), flush=True)
        try:
            run_server(app, listening)
        finally:
            service.close()
    return 0


def _headline(service: "SearchService", host: str, port: int, has_token: bool) -> str:
    facts = service.snapshot().index.facts
    kind = f"{'partly ' if facts['has_patients'] else ''}phantom (synthetic) studies" if facts["phantom"] else "studies"
    address = {"127.0.0.1": "localhost", "::1": "[::1]"}.get(host, host)
    limits = "" if service.model else ", without a model: keywords, cases and words of reports only"
    return (
        f"{facts['studies']:,} {kind}{limits}{', ids hidden' if service.names.anonymous else ''}\n"
        f"http://{address}:{port}/{'  (requires the token)' if has_token else ''}  Press Ctrl+C to stop."
    )


def _check_safety(host: str, token: str, names: Sequence[str]) -> None:
    if host not in _LOCAL and not token:
        raise UserError(
            f"--host {host} lets other machines connect, and reports are patient data: set {TOKEN} in the environment"
            f" to a secret of at least {SHORTEST_TOKEN} characters, or leave --host out."
        )
    if host not in _LOCAL and not names:
        raise UserError(
            f"--host {host} needs --allowed_hosts too: the names by which clients address this machine, like "
            "'[ct.hospital.local]'."
        )
