"""What is wrong with a `fit` is told all at once, before a file is made; and where to go on after one."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bimcvr.cli import main
from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.training.preflight import Faults, NotMade
from helpers.cli import newest_run

ABSENT = """
model:
  volume_encoder: {class_path: helpers.toy_modules.AbsentWeights, init_args: {name: volumes}}
  text_encoder: {class_path: helpers.toy_modules.AbsentWeights, init_args: {name: texts}}
"""


def cohort(source: Path, folder: Path) -> Path:
    """A copy of a cohort, of which one volume is absent, one no file of its kind and one cut in its header."""
    shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns("cache"))
    (folder / "s1.nii.gz").unlink()
    (folder / "s2.nii.gz").write_text("<html>404</html>")
    (folder / "s3.nii.gz").write_bytes((folder / "s3.nii.gz").read_bytes()[:40])
    return folder / "manifest.csv"


@pytest.mark.parametrize("verb", ["fit", "dry-run"])
def test_all_faults_are_told_at_once_and_nothing_is_made(
    verb: str, tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = cohort(tiny_cohort, tmp_path / "cohort")
    (tmp_path / "absent.yaml").write_text(ABSENT)
    before = set(tmp_path.rglob("*"))
    wrong = {
        "--data.manifest": str(manifest),
        "--data.batch_size": "40",
        "--trainer.precision": "bf16-true",
        "--experiment": "../x",
        "--checkpoint.monitor": "val/nothing",
    }
    words = [word for pair in wrong.items() for word in pair]
    assert main([verb, *tiny_config, "--config", str(tmp_path / "absent.yaml"), *words]) == 1
    told = capsys.readouterr().err
    assert "7 things are wrong" in told
    for fault in (
        "trainer.precision cannot be bf16-true",
        "experiment is '../x'",
        "the weights of volumes are absent",
        "the weights of texts are absent",
        "3 volumes of",
        r"s1: missing_file",
        r"s2: unknown_format",
        r"s3: ",
        "A batch of 40 studies",
        "checkpoint.monitor is 'val/nothing'",
    ):
        assert re.search(fault, told), fault
    assert set(tmp_path.rglob("*")) == before


def test_absent_weights_alone_stay_what_a_benchmark_knows_them_by() -> None:
    faults = Faults()

    def absent(name: str) -> None:
        raise WeightsAbsent(f"the weights of {name} are absent.")

    for name in ("volumes", "texts"):
        assert isinstance(faults.made(absent, name), NotMade)
    with pytest.raises(WeightsAbsent, match=r"(?s)volumes.*texts"):
        faults.tell()
    faults.add(["and another fault"])
    with pytest.raises(UserError, match="3 things") as told:
        faults.tell()
    assert not isinstance(told.value, WeightsAbsent)


def test_an_unloggable_monitor_and_a_split_without_rows(
    tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(tiny_cohort)
    table.assign(split="train").to_csv(tmp_path / "all.csv", index=False)
    words = ["--data.manifest", str(tmp_path / "all.csv"), "--data.root", str(tiny_cohort.parent)]
    assert main(["dry-run", *tiny_config, *words, "--model.optimizer", "torch.optim.LBFGS"]) == 1
    told = capsys.readouterr().err
    assert "split 'val'" in told
    assert "LBFGS" in told


def test_a_dry_run_counts_what_will_be_used(
    tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three volumes of `train` are skipped: 13 of 16 are left, three batches of four."""
    manifest = cohort(tiny_cohort, tmp_path / "cohort")
    words = [*tiny_config, "--data.manifest", str(manifest), "--data.skip_refused", "true"]
    assert main(["dry-run", *words]) == 0
    told = capsys.readouterr().out
    assert "studies: train 13 (48.1 %), val 7 (25.9 %), test 7 (25.9 %), of 30 rows" in told
    assert "3 accepted rows are skipped" in told
    assert "cache: 27 volumes" in told
    assert "GB when full, 0 are there already" in told
    assert "steps: 3 an epoch" in told


def test_a_fit_ends_with_its_checkpoint_and_the_next_command(
    tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(UserWarning, match="both views are the same"):
        assert main(["fit", *tiny_config]) == 0
    *_, page, best, command = capsys.readouterr().out.strip().splitlines()
    path = newest_run(tmp_path / "runs") / "checkpoints/best.ckpt"
    run = newest_run(tmp_path / "runs")
    assert page == f"curves and page: {run / 'run.html'}"
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    shown = (run / "run.html").read_text()
    for words in (
        "learning rate",
        "temperature",
        "text → image R@1",
        "L_sim",
        "Best of val",
        f"test --checkpoint {path}",
    ):
        assert words in shown, words
    assert "not logged" not in shown
    assert best == f"best checkpoint: {path}"
    assert command == f"next: bimcvr test --checkpoint {path}"
    assert main(["dry-run", *tiny_config]) == 0
    assert "30 are there already" in capsys.readouterr().out
    assert main(command.split()[2:]) == 0
