"""A small index, the application over it, and a server as a user starts it."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from starlette.testclient import TestClient

from bimcvr.models.embedder import Embedder
from bimcvr.search.server.app import create_app
from bimcvr.search.server.options import ServerOptions
from bimcvr.search.server.service import SearchService
from bimcvr.serving.middleware import SecurityMiddleware
from helpers.server_process import Running as Running
from helpers.server_process import serving as serving

HOST = "http://127.0.0.1:8000"
SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@dataclass(frozen=True)
class Made:
    """A trained tiny model, its manifest, and an index of all its studies."""

    index: Path
    manifest: Path
    run: Path
    model: Embedder

    def service(self, anonymous: bool = False, with_model: bool = True) -> SearchService:
        return SearchService(self.index, self.model if with_model else None, anonymous)

    def client(self, service: SearchService, **options: object) -> TestClient:
        """A client of the application in this process; what it raises is an answer, as it is to others."""
        return TestClient(app_of(service, **options), base_url=HOST, raise_server_exceptions=False)


def app_of(service: SearchService, **options: object) -> SecurityMiddleware:
    return create_app(service, ServerOptions(**{"max_upload_mib": 4, **options}))  # type: ignore[arg-type]


def dressed(manifest: Path, out: Path) -> Path:
    """The tiny cohort with more columns, names that would give patients away, and a report that brings a script."""
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    table["volume"] = [str(manifest.parent / name) for name in table["volume"]]
    table["study_id"] = [f"SECRET-{name}" for name in table["study_id"]]
    # pairs, but none over the boundaries of the splits
    table["patient_id"] = [f"PATIENT-{(number + (number > 22)) // 2}" for number in range(len(table))]
    table["accession"] = [f"ACC-{number}" for number in range(len(table))]
    table["sex"] = ["F", "M"] * (len(table) // 2)
    table["ward"] = ["private"] + ["general"] * (len(table) - 1)
    table["age"] = [str(40 + number) for number in range(len(table))]
    table["source"] = "phantom"
    table.loc[3, "report"] += f" {SCRIPT} The other words are harmless."
    table.to_csv(out, index=False)
    return out


def left_behind(index: Path) -> list[str]:
    """What uploads have left on the disk."""
    return sorted(str(path) for path in (index / "derived/uploads").rglob("*"))


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
