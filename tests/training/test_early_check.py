"""Mistakes that are told before Lightning is imported, and the file of options that this needs."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimcvr.cli import LIGHTNING, main
from bimcvr.commands.training import early_check
from bimcvr.errors import UserError
from bimcvr.training import lightning_cli
from helpers.cli import EXPERIMENTS, TINY, environment

COMMON = tuple(dict.fromkeys((*early_check.TRAINS, *early_check.EVALUATES)))
MISTAKES = {
    "key in a file": ("data: {manifst: x.csv}", [], "there is no key 'data.manifst'. Did you mean 'data.manifest'?"),
    "key of the trainer": ("trainer: {max_epoch: 3}", [], "Did you mean 'trainer.max_epochs'?"),
    "key as a flag": ("", ["--data.batch_sise=4"], "(given as --data.batch_sise)"),
    "group": ("datta: {size: [8, 8, 8]}", [], "there is no key 'datta'"),
    "manifest": ("", ["--data.manifest", "absent.csv"], "There is no manifest at absent.csv"),
    "column": ("", ["--data.manifest", "columns.csv"], "columns.csv"),
    "class": ("model: {fusion: bimcvr.models.ChanelGate}", [], "Did you mean 'ChannelGate'?"),
    "module": ("model: {fusion: {class_path: bimcvr.models.volume.view_fusion.No}}", [], "there is no 'No'"),
    "package": ("model: {fusion: {class_path: absent_package.Fusion}}", [], "no package 'absent_package'"),
    "class as a flag": ("", ["--model.fusion", "bimcvr.models.ChanelGate"], "Did you mean 'ChannelGate'?"),
}


def options() -> dict[str, Any]:
    """The file as it should be: what the parsers have."""
    keys, texts = {}, {}
    for verb in LIGHTNING:
        with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            main([verb, "--help-all"])
        name = "fit" if verb == "dry-run" else verb
        parser = next(one for one in lightning_cli._Parser.created if one.prog.endswith(f" {name}"))
        keys[verb] = [action.dest for action in parser._actions]
        texts |= {action.dest: re.sub(r"\s+", " ", str(action.help)).split(" (type:")[0] for action in parser._actions}
    return {"keys": keys, "common": {key: texts[key] for key in COMMON}}


def test_the_file_of_options_is_that_of_the_parsers() -> None:
    """`BIMCVR_WRITE_OPTIONS=1 pytest tests/training/test_early_check.py` writes it anew."""
    wanted = options()
    if "BIMCVR_WRITE_OPTIONS" in os.environ:
        early_check.OPTIONS.write_text(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")
    assert json.loads(early_check.OPTIONS.read_text()) == wanted


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "columns.csv").write_text("study_id,report\ns1,There is a nodule.\n")
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_without_importing_torch(name: str, here: Path) -> None:
    content, flags, told = MISTAKES[name]
    (here / "mine.yaml").write_text(content or "{experiment: mine}")
    words = ["fit", "--config", "tiny.yaml", "--config", "mine.yaml", *flags]
    code = f"import sys\nfrom bimcvr.cli import main\ncode = main({words!r})\nprint(code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert told in done.stderr
    assert done.stdout.split() == ["1", "False"]
    assert sorted(path.name for path in here.iterdir()) == ["columns.csv", "mine.yaml", "tiny.yaml"]


@pytest.mark.parametrize(("verb", "keys"), [("fit", early_check.TRAINS), ("predict", early_check.EVALUATES)])
def test_help_is_short_and_loads_nothing_heavy(verb: str, keys: tuple[str, ...]) -> None:
    code = "import sys\nfrom bimcvr.cli import main\nmain([sys.argv[1], '--help'])\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=True)
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "False"
    assert len(lines) < 70
    assert max(map(len, lines)) <= 80
    shown = [line.split("--")[1] for line in lines if line.startswith("  --")]
    assert shown == ["checkpoint" if key == "ckpt_path" else key for key in keys]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("data.batch_sise", "4", "--data.batch_sise"), ("model.fusion", "bimcvr.models.ChanelGate", "ChannelGate")],
)
def test_a_second_mistake_is_told_with_the_first(key: str, value: str, told: str, here: Path) -> None:
    with pytest.raises(UserError, match="2 things are wrong") as refused:
        early_check.refuse_early("fit", [f"--{key}", value, "--data.manifest", "absent.csv"])
    assert told in str(refused.value)
    assert "no manifest at absent.csv" in str(refused.value)


def test_what_is_right_passes(here: Path, tiny_cohort: Path) -> None:
    flags = [
        "--data.manifest",
        str(tiny_cohort),
        "--trainer.callbacks+=pytorch_lightning.callbacks.RichProgressBar",
        "--model.objective.temperature=0.1",
        "--model.optimizer.lr",
        "0.1",
        "--print_config=skip_default",
        "--checkpoint",
        "last",
    ]
    early_check.refuse_early("fit", ["--config", "tiny.yaml", *flags])
    (here / "more.yaml").write_text("trainer: {callbacks+: {class_path: pytorch_lightning.callbacks.Timer}}")
    early_check.refuse_early("fit", ["--config", "more.yaml"])
    for path in EXPERIMENTS.glob("*/*.yaml"):
        if path.parent.name in ("bimcv_r", "phantom", "peers"):
            early_check.refuse_early("fit", ["--config", str(path)])


def test_a_run_s_own_config_passes(tiny_config: list[str], tmp_path: Path) -> None:
    assert main(["fit", *tiny_config]) == 0
    (config,) = (tmp_path / "runs").rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["data"]["manifest"]
    for verb in ("fit", "test", "predict"):
        early_check.refuse_early(verb, ["--config", str(config)])


def test_only_the_first_process_looks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError):
        early_check.refuse_early("fit", ["--data.manifest", "absent.csv"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    early_check.refuse_early("fit", ["--data.manifest", "absent.csv"])
