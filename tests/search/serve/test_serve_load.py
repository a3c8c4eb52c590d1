"""Many clients at once: the benchmark's load, for a few seconds."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from served import Made, Running, left_behind


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks/serve_load.py"
    found = importlib.util.spec_from_file_location("serve_load", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["serve_load"] = module  # its dataclass looks its module up
    found.loader.exec_module(module)
    return module


def test_twenty_clients_are_answered_in_flat_memory(bench: ModuleType, running: Running, made: Made) -> None:
    bench.drive(running.address, running.pid, clients=4, seconds=1)
    load = bench.drive(running.address, running.pid, clients=20, seconds=5)
    assert load.errors == []
    assert set(load.seconds) == {*bench.ROUND, "upload"}
    assert load.is_flat(), load.memory_mb
    assert left_behind(made.index) == []


def test_growing_memory_is_seen(bench: ModuleType) -> None:
    assert not bench.Load(memory_mb=[1000 + 10 * second for second in range(60)]).is_flat()
    assert bench.Load(memory_mb=[700, 900, 1000, 1010, 1000, 1005, 1010, 1012, 1000]).is_flat()
