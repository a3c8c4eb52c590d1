"""The throughput benchmark on small shapes: a whole row, and nothing in it that was not measured or asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.cli import environment

SCRIPT = Path(__file__).parents[2] / "perf/throughput.py"


@pytest.mark.slow
def test_a_row_holds_what_was_measured(tmp_path: Path) -> None:
    words = ["--smoke", "true", "--out", str(tmp_path / "rows.jsonl"), "--compile", "aot_eager", "--peak_tflops", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert (row["volume_encoder"], row["size"], row["batch"], row["views"], row["compile"]) == (
        "ResNet3D",
        [16, 32, 32],
        2,
        2,
        "aot_eager",
    )
    assert row["host"]
    assert row["device"]
    assert row["versions"]["torch"]
    parts = row["parts_of_step"]
    assert parts["step_over_encoder"] > 0
    assert parts["forward_backward"] + parts["checks"] + parts["optimizer"] == pytest.approx(parts["step"], rel=0.5)
    assert row["loader_alone"]["studies_a_second_per_process"] == row["loader_alone"]["studies_a_second"] > 0
    assert row["with_data"]["wait_for_batch"] > 0
    for part in (row["without_data"], row["with_data"]):
        assert part["fastest"] <= part["seconds_a_step"]
        assert part["studies_a_second"] == pytest.approx(2 / part["seconds_a_step"], rel=0.01)
        assert part["mfu"] == pytest.approx(row["operations_a_step"] / 1e12 / part["seconds_a_step"], abs=1e-3)
