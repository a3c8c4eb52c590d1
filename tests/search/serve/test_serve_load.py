"""Many clients at once: the benchmark's load, for a few seconds."""

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from helpers.running_server import Made, Running, left_behind


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[3] / "perf/serve_load.py"
    found = importlib.util.spec_from_file_location("serve_load", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["serve_load"] = module  # its dataclass looks its module up
    found.loader.exec_module(module)
    return module


def test_twenty_clients_are_answered_in_flat_memory(bench: ModuleType, running: Running, made: Made) -> None:
    bench.drive(running.address, running.pid, clients=20, seconds=3)
    load = bench.drive(running.address, running.pid, clients=20, seconds=5)
    assert load.errors == []
    assert set(load.seconds) == {*bench.ROUND, "upload"}, "the twenty's first turns are of every kind"
    assert load.is_flat(), load.memory_mb
    assert "20 × 20 × 18 voxels" in load.volumes
    assert left_behind(made.index) == []


@pytest.mark.parametrize("leak", [1.0, 2.0, 10.0])
def test_growing_memory_is_seen(bench: ModuleType, leak: float) -> None:
    """A leak in MB a second over half a minute, beside what comes and goes with an upload."""
    level = [1000 + 40 * (position % 10 == 0) for position in range(60)]
    assert bench.Load(memory_mb=level).is_flat()
    assert not bench.Load(memory_mb=[one + leak * position / 2 for position, one in enumerate(level)]).is_flat()
    grown = [700, 800, 900, *[1000] * 17]
    assert bench.Load(memory_mb=[*grown, *level[:40]]).is_flat(), "what grows first and then stays is no leak"


def test_no_text_is_asked_twice(bench: ModuleType, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[str] = []
    post = httpx.AsyncClient.post

    async def noted(self: httpx.AsyncClient, url: str, **sent: Any) -> httpx.Response:
        if sent.get("json", {}).get("mode") == "text":
            queries.append(sent["json"]["query"])
        return await post(self, url, **sent)

    monkeypatch.setattr(httpx.AsyncClient, "post", noted)
    deadline = time.monotonic() + 120
    drives = 0
    # a busy machine may answer nothing within half a second
    while time.monotonic() < deadline and (drives < 2 or len(queries) < 2):
        bench.drive(running.address, running.pid, clients=4, seconds=0.5)
        drives += 1
    assert len(set(queries)) == len(queries) >= 2
