"""How a server is run."""

from dataclasses import dataclass

from bimcvr.serving.middleware import LOOPBACK


@dataclass(frozen=True)
class ServerOptions:
    """How a server is run.

    Attributes:
        token: what clients must send as `Authorization: Bearer …`; empty for none.
        hosts: the names by which the server may be addressed.
        max_upload_mib: the largest upload, MiB.
        upload_seconds: how long an upload may take.
    """

    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK
    max_upload_mib: int = 1024
    upload_seconds: float = 600.0
