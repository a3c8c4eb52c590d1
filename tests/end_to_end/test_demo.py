"""The demo's road on a cohort of seconds: its parts, its picture, and the line that opens the page."""

from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.search.index.reader import Index
from helpers.cli import TINY
from helpers.limits import files_of_at_most, mode


def test_the_demo_ends_with_the_line_that_opens_its_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # workers would keep the limit of their first file
    (tmp_path / "tiny.yaml").write_text(
        TINY.replace("eval_batch_size: 3", "eval_batch_size: 3, strategy: exact, allow_patient_overlap: true")
    )
    demo = tmp_path / "demo"
    words = ["demo", "--out", str(demo), "--config", str(tmp_path / "tiny.yaml")]
    outside = ["--patients", "24"]
    demo.mkdir()
    with mode(demo, 0o555):
        assert main([*words, *outside]) == 1
    assert f"{demo / 'phantom-24-0'}: permission denied: it may not be written" in capsys.readouterr().err
    with files_of_at_most(600):
        assert main([*words, *outside]) == 1
    assert f"bimcvr phantom: {demo / 'phantom-24-0'}" in capsys.readouterr().err
    # another seed and another size in the same folder; the first again: what is there is used
    for patients, seed in ((24, 0), (24, 1), (26, 0), (24, 0)):
        assert main([*words, "--patients", str(patients), "--seed", str(seed)]) == 0
        which = f"{patients}-{seed}"
        printed = capsys.readouterr().out
        assert printed.rstrip().endswith(f"python -m bimcvr serve {demo / f'index-{which}'}")
        assert "chance" in printed
        with Index.open(demo / f"index-{which}") as index:
            assert index.is_phantom
            assert 0 < len(index) < patients
            assert f"/demo-{which}/" in index.facts["checkpoint"]
            assert f"/phantom-{which}/" in index.row(index.study_ids[0]).source
        assert (demo / f"demo-{which}.png").stat().st_size > 10_000
    assert len(list((demo / "runs").iterdir())) == 3
