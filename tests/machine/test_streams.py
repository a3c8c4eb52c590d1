"""What reaches the terminal: figures on any encoding, no escape sequence, no traceback over a closed pipe."""

import io
import sys
from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.errors import printable


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_stream_that_is_not_utf_8_shows_escapes(
    encoding: str, tmp_path: Path, tiny_cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(2, 7, 8)).astype(np.float32)
    ids = np.array([f"s{number}" for number in range(23, 30)])
    np.savez(tmp_path / "e.npz", study_id=ids, image=vectors[0], text=vectors[1])
    seen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(seen, encoding=encoding))
    words = ["evaluate", str(tmp_path / "e.npz"), "--manifest", str(tiny_cohort), "--resamples", "20"]
    assert main(words) == 0
    assert b"R@1" in seen.getvalue()
    assert rb"\u2192" in seen.getvalue()  # the arrow


def test_no_escape_sequence_of_a_file_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.csv").write_text("study_id,volume,report,split\n\x1b[31mred,a.nii,text of a report,unheard\n")
    assert main(["cache", str(tmp_path / "m.csv")]) == 1
    assert "\x1b" not in (shown := capsys.readouterr().err)
    assert r"\x1b[31mred" in shown
    assert printable("a\tb\nc\x07\x9b") == "a\tb\nc\\x07\\x9b"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_told(
    tmp_path: Path, tiny_cohort: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = io.FileIO("/dev/full", "w")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=False))
    assert main(["probes", str(tiny_cohort), "--out", str(tmp_path / "p.csv")]) == 1
    assert "the disk is full" in capsys.readouterr().err.lower()
