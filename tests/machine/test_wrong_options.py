"""Random wrong values of every option of every verb: one message and an exit code of the documentation, no traceback.

`BIMCVR_WRONG_OPTIONS=500` tries that many; by default as many as some seconds allow.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bimcvr.cli import VERBS, main
from helpers.cli import ROOT, TINY
from helpers.index_factory import make_index, study
from helpers.wrong_options import wrong_options

_SECONDS = 10.0
_PATIENCE = 30


class TooLong(BaseException):
    """A value that is right and asks for much work."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """End a verb that works for longer: a right value may ask for hours."""

    def end(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(words: list[str]) -> int | str:
    """How a command line ends: its exit code, or the name of what it raised."""
    try:
        with at_most(_PATIENCE):
            return main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except TooLong:
        return 0
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_no_wrong_value_ends_in_a_traceback(
    tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/below")
    repository = _names(ROOT)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "sweep.yaml").write_text(
        "method: grid\nmetric: {name: x}\nparameters: {a: {values: [1]}}\ncommand: [x]"
    )
    manifest, index = str(tiny_cohort), str(make_index(tmp_path / "ix", [study(f"s{number}") for number in range(6)]))
    ids, vectors = [f"s{number}" for number in range(23, 30)], np.random.default_rng(0).normal(size=(2, 7, 8))
    np.savez(tmp_path / "e.npz", study_id=np.array(ids), image=vectors[0], text=vectors[1])
    run = ["--config", str(tmp_path / "tiny.yaml"), "--data.manifest", manifest, "--trainer.max_epochs", "1"]
    base = {key: [""] for key in VERBS} | {
        **{key: [manifest, "--jobs", "1"] for key in ("audit", "stats", "cache")},
        **dict.fromkeys(("fit", "dry-run"), run),
        **{key: [*run, "--ckpt_path", str(tmp_path / "none.ckpt")] for key in ("validate", "test", "predict")},
        "curate": ["--config", str(tmp_path / "none.yaml")],
        "preview": [manifest],
        "phantom": ["p", "--patients", "1", "--jobs", "1"],
        "sweep": [str(tmp_path / "sweep.yaml"), "--local"],
        "evaluate": [str(tmp_path / "e.npz"), "--manifest", manifest, "--resamples", "20"],
        "probes": [manifest],
        "benchmark": ["--only", "none"],
        "index": ["--embeddings", str(tmp_path / "e.npz"), "--manifest", manifest, "--split", "test", "--jobs", "1"],
        "search": [index, "--study", "s1"],
        "serve": [index, "--port", "0"],
        "doctor": [],
        "demo": ["--patients", "1", "--config", str(tmp_path / "none.yaml")],
    }
    wanted, began, tried = int(os.environ.get("BIMCVR_WRONG_OPTIONS", "0")), time.process_time(), 0
    for words in wrong_options(3, tmp_path / "odd", base):
        ended = outcome(words)
        said = capfd.readouterr()
        assert ended in (0, 1, 2, 3), (words, ended)
        assert "Traceback (most recent call last)" not in said.out + said.err, words
        assert "\x1b[31m" not in said.out + said.err, words
        tried += 1
        if tried >= wanted and time.process_time() - began > _SECONDS * (not wanted):
            break
    assert tried > 5
    assert _names(ROOT) <= repository
