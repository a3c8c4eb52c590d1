"""The demo's road on a cohort of seconds: its parts, its picture, and the line that opens the page."""

from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.search.index import Index
from calls import TINY


def test_the_demo_ends_with_the_line_that_opens_its_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY.replace("eval_batch_size: 3", "eval_batch_size: 3, split: exact, allow_patient_overlap: true"))
    words = ["demo", "--directory", str(tmp_path / "demo"), "--experiment", f"[{tmp_path / 'tiny.yaml'}]", "--patients", "24"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(f"python -m bimcvr serve {tmp_path / 'demo/index'}")
    assert "chance" in printed
    with Index.open(tmp_path / "demo/index") as index:
        assert index.is_phantom
        assert 0 < len(index) < 24
    assert (tmp_path / "demo/demo.png").stat().st_size > 10_000
    assert main(words) == 0  # again: what is there is used
