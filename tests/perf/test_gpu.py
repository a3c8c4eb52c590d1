"""`make gpu` at toy size on the CPU: it goes on where it was stopped, and survives a part that breaks."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.cli import environment

PERF = Path(__file__).parents[2] / "perf"
sys.path.insert(0, str(PERF))

import gpu  # noqa: E402
from gpu_tables import as_markdown  # noqa: E402

WORKER = """
import sys, os, time
sys.path.insert(0, {perf!r})
from pathlib import Path
from gpu import Ledger
from bimcvr.provenance import git_commit
state = Ledger(Path({out!r}) / "gpu.json", {{"toy": True, "commit": git_commit()}})
state.content["names"] = ["good", "killed", "hangs", "last"]
for name in state.content["names"]:
    if name in state.content["parts"]:
        continue
    state.record(name, state="running")
    with open({out!r} + "/ran", "a") as stream:
        stream.write(name + " ")
    if name == "killed" and not os.path.exists({out!r} + "/repaired"):
        os.kill(os.getpid(), 9)
    if name == "hangs" and not os.path.exists({out!r} + "/repaired"):
        time.sleep(60)
    state.record(name, state="done", seconds=0.1, facts={{"held": True, "figure": 0.5}})
"""


def test_a_part_that_kills_its_process_or_hangs_is_told_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = WORKER.format(perf=str(PERF), out=str(tmp_path))
    monkeypatch.setattr(gpu, "_words_of_worker", lambda *_: [sys.executable, "-c", code])
    monkeypatch.setattr(gpu, "PART_SECONDS", 2.5)
    assert gpu.main(["--toy", "true", "--out", str(tmp_path)]) == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["state"] for name, part in parts.items()} == {
        "good": "done",
        "killed": "failed",
        "hangs": "failed",
        "last": "done",
    }
    assert parts["killed"]["reason"] == "ended with exit code -9"
    assert parts["hangs"]["reason"] == "took more than 2.5 s"
    assert "| killed | **failed** ended with exit code -9 |" in capsys.readouterr().out
    (tmp_path / "repaired").touch()
    assert gpu.main(["--toy", "true", "--out", str(tmp_path)]) == 0
    # only what had failed ran once more
    assert (tmp_path / "ran").read_text().split() == ["good", "killed", "hangs", "last", "killed", "hangs"]


def test_what_is_left_for_lack_of_time_is_named_and_what_does_not_hold_is_no_success(tmp_path: Path) -> None:
    about = {"toy": True, "commit": gpu.git_commit()}
    state = gpu.Ledger(tmp_path / "gpu.json", about)
    state.content["names"] = ["one", "two"]
    state.record("one", state="done", seconds=1.0, facts={"held": False, "off by": 3.0})
    assert "| one | **NO** | off by 3 |" in as_markdown(state.content)
    assert "Not run, for lack of time (the same command goes on): two." in as_markdown(state.content)
    assert state.wrong == ["one"]
    assert gpu.main(["--toy", "true", "--out", str(tmp_path), "--minutes", "0"]) == 3  # what did not hold is forgotten
    other = gpu.Ledger(tmp_path / "gpu.json", {**about, "commit": "another"})
    assert other.content["parts"] == {}


@pytest.mark.slow
def test_the_whole_of_it_at_toy_size(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PERF / "gpu.py"), "--toy", "true", "--out", str(tmp_path), "--minutes", "10"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads((tmp_path / "gpu.json").read_text())
    assert set(content["parts"]) == set(content["names"])
    assert all(part["state"] == "done" for part in content["parts"].values())
    held = {name for name, part in content["parts"].items() if part["facts"].get("held")}
    assert held == {
        "embeddings",
        "ranks",
        "views on the device",
        "bf16 and compile",
        "checkpoint and resume",
        "DDP, one process",
    }
    for name, part in content["parts"].items():
        if "step_ms" in part["facts"]:
            facts = part["facts"]
            assert facts["studies_a_second"] == pytest.approx(facts["batch"] / facts["step_ms"] * 1000), name
            assert 0 <= facts["wait_share"] < 1
    table = (tmp_path / "gpu.md").read_text()
    assert "toy size on the CPU: no speed of anything" in table
    assert all(f"| {name} |" in table for name in content["names"] if name != "machine")
    began = time.monotonic()  # all is done: no worker is started
    again = [sys.executable, str(PERF / "gpu.py"), "--toy", "true", "--out", str(tmp_path)]
    assert subprocess.run(again, env={**os.environ, **environment()}, capture_output=True, check=False).returncode == 0
    assert time.monotonic() - began < 60
