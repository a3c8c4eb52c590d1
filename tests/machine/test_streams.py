"""What reaches the terminal: figures on any encoding, no escape sequence, no traceback over a closed pipe."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bimcvr.cli import main
from bimcvr.errors import printable


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_stream_that_is_not_utf_8_shows_escapes(
    encoding: str, tmp_path: Path, tiny_cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_no_escape_sequence_of_a_cell_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a verb prints of a manifest: its name, ids, labels; JSON stays JSON."""
    red, ids = "\x1b[31m", [f"\x1b[31ms\x9b{number}" for number in range(6)]
    manifest, folder = tmp_path / f"{red}.csv", str(tmp_path / "out")
    lines = [f"{name},{red}.nii,There is a nodule {red} here,{red}nodule,{red}" for name in ids]
    manifest.write_text("\n".join(["study_id,volume,report,labels,language", *lines]))
    vectors = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    np.savez(tmp_path / "e.npz", study_id=np.array(ids), image=vectors[0], text=vectors[1])
    read, made = [str(manifest), "--jobs", "1"], str(tmp_path / "e.npz")
    for words in (
        ["cache", *read],
        ["index", "--embeddings", made, "--manifest", str(manifest), "--out", f"{folder}/ix", "--jobs", "1"],
        ["search", f"{folder}/ix", "--study", ids[0], "--labels", f"{red}nodule"],
    ):
        ended = main(words)
        said = capfd.readouterr()
        assert ended in (0, 1, 3), (words, said.err)
        assert not {"\x1b", "\x9b"} & set(said.out + said.err), words
    assert main(["search", f"{folder}/ix", "--study", ids[0], "--json"]) == 0
    printed = capfd.readouterr().out
    assert not {"\x1b", "\x9b"} & set(printed)
    assert json.loads(printed)["hits"][0]["study_id"] in ids
    words = ["index", "--embeddings", made, "--manifest", str(manifest), "--out", f"{folder}/{red}"]
    assert main(words) == 1
    assert r"\x1b[31m has a control character" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_told(
    tmp_path: Path, tiny_cohort: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = io.FileIO("/dev/full", "w")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=False))
    assert main(["probes", str(tiny_cohort), "--out", str(tmp_path / "p.csv")]) == 1
    assert "the disk is full" in capsys.readouterr().err.lower()
