"""One tiny model and one index for all tests of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.models.embedder import Embedder
from helpers.cli import TINY, newest_run
from helpers.page import chromium
from helpers.running_server import Made, Running, dressed, serving


@pytest.fixture(scope="session")
def made(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("served")
    manifest = dressed(tiny_cohort, folder / "manifest.csv")
    (folder / "tiny.yaml").write_text(TINY)
    options = ["--config", str(folder / "tiny.yaml"), "--data.manifest", str(manifest), "--runs", str(folder / "runs")]
    assert main(["fit", *options]) == 0
    run = newest_run(folder / "runs")
    checkpoint = run / "checkpoints/best.ckpt"
    assert main(["test", "--ckpt_path", str(checkpoint)]) == 0
    assert (
        main(
            [
                "index",
                "--checkpoint",
                str(checkpoint),
                "--manifest",
                str(manifest),
                "--out",
                str(folder / "index"),
                "--jobs",
                "1",
            ]
        )
        == 0
    )
    return Made(folder / "index", manifest, run, Embedder(checkpoint, "cpu"))


@pytest.fixture(scope="session")
def client(made: Made) -> Iterator[TestClient]:
    service = made.service()
    with made.client(service) as client:
        yield client
    service.close()


@pytest.fixture(scope="session")
def running(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server in a process of its own."""
    with serving(made.index, tmp_path_factory.mktemp("log") / "log") as found:
        yield found


@pytest.fixture(scope="module")  # Playwright leaves an event loop in the thread, which asyncio.run refuses
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser
