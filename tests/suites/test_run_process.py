"""The process of one run."""

from pathlib import Path
from typing import Any

import pytest

from bimcvr.suites import run_process as child


def test_an_untrained_model_is_tested_on_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a trained one: on a machine with several, its rows would be dealt out and some repeated."""
    called: list[tuple[str, tuple[str, ...]]] = []

    def test(train: Any, verb: str, words: tuple[str, ...], checkpoint: str | None) -> None:
        called.append((verb, words))
        (tmp_path / "now-0").mkdir()
        (tmp_path / "now-0/result.json").write_text("{}")

    monkeypatch.setattr(child, "_call", test)
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    record = child._test_alone(("--config", "a.yaml", "--trainer.devices=8"), tmp_path, 0, 1)
    ((verb, words),) = called
    assert verb == "test"
    assert words[-3:] == ("--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"), (
        "after the row's own options"
    )
    assert (record["status"], record["folder"]) == (child.DONE, "now-0")
