"""The doctor finds what was broken on purpose, says what to do, and fails only then."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bimcvr.cli import main
from bimcvr.doctor.check_result import CheckResult
from bimcvr.doctor.environment import check_environment, check_packages
from bimcvr.doctor.files import check_cache, check_checkpoint, check_wandb
from bimcvr.doctor.weights import check_weights
from helpers.cli import TINY, newest_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "tiny.yaml").write_text(TINY)
    assert (
        main(
            [
                "fit",
                "--config",
                str(folder / "tiny.yaml"),
                "--data.manifest",
                str(tiny_cohort),
                "--runs",
                str(folder / "runs"),
                "--data.cache",
                str(folder / "cache"),
            ]
        )
        == 0
    )
    return newest_run(folder / "runs")


def states(lines: list[CheckResult]) -> list[str]:
    return [line.state for line in lines]


def test_a_sound_machine_passes_and_json_says_the_same(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    words = [
        "--config",
        str(ROOT / "src/bimcvr/experiments/phantom/base.yaml"),
        "--checkpoint",
        str(run / "checkpoints/best.ckpt"),
        "--cache",
        str(run.parents[2] / "cache"),
        "--runs",
        str(run.parents[1]),
    ]
    assert main(["doctor", *words]) == 0
    assert "MiniLM" in capsys.readouterr().out
    assert main(["doctor", *words, "--json"]) == 0
    lines = {line["what"]: line for line in json.loads(capsys.readouterr().out)}
    assert {line["state"] for line in lines.values()} <= {"ok", "warning"}
    assert all(line["remedy"] for line in lines.values() if line["state"] != "ok")
    for what in ("python", "packages", "torch", "torchvision", "CPU", "weights: MiniLM", "cache", "checkpoint", "W&B"):
        assert lines[what]["state"] == "ok", lines[what]
    assert {"memory", "disk"} <= lines.keys(), "how much of them there is, is this machine's affair"
    assert lines["cache"]["found"].startswith("30 volumes")
    assert "none was given" in lines["index"]["found"]
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_one_failing_line_is_exit_code_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--cache", str(tmp_path / "absent"), "--json"]) == 1
    failing = [line for line in json.loads(capsys.readouterr().out) if line["state"] == "failing"]
    assert [line["what"] for line in failing] == ["cache"]
    assert "bimcvr cache" in failing[0]["remedy"]


def test_a_package_outside_its_range_and_one_that_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "sick-1.0.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\nName: sick\nVersion: 1.0\nRequires-Python: >=3.99\nRequires-Dist: numpy<1\n"
        "Requires-Dist: no-such-thing-here>=2\nRequires-Dist: pandas>=1\nRequires-Dist: not-wanted; extra == 'dev'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = {line.what: line for line in check_packages("sick")}
    assert {what: line.state for what, line in lines.items()} == {
        "python": "failing",
        "numpy": "failing",
        "no-such-thing-here": "failing",
        "packages": "ok",
    }
    assert importlib.metadata.version("numpy") in lines["numpy"].found
    assert "pip install 'numpy<1'" in lines["numpy"].remedy
    assert lines["packages"].found.startswith("1 of 3 ")
    assert states(list(check_packages("not-installed-anywhere"))) == ["warning"]


@pytest.mark.parametrize(("free", "state"), [(21e9, "ok"), (19e9, "warning"), (0.9e9, "failing")])
def test_a_disk_that_fills_up_warns_then_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=int(free)))
    lines = {line.what: line for line in check_environment(tmp_path / "runs/not/made/yet")}
    assert lines["disk"].state == state
    assert str(tmp_path) in lines["disk"].found
    assert bool(lines["disk"].remedy) == (state != "ok")


def test_a_driver_that_hangs_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(subprocess, "run", hang)
    lines = {line.what: line for line in check_environment(tmp_path)}
    assert (lines["GPU"].state, "20 s" in lines["GPU"].found) == ("failing", True)


def test_absent_weights_fail_where_they_are_asked_for_and_warn_elsewhere(tmp_path: Path) -> None:
    some = tmp_path / "experiments/some"
    some.mkdir(parents=True)
    text = """
    model:
      volume_encoder: {class_path: bimcvr.models.ResNet3D, init_args: {depth: 10}}
      text_encoder: {class_path: bimcvr.models.SentenceEncoder, init_args: {model: %s}}
    """
    (some / "hub.yaml").write_text(text % "nobody/has-this-model")
    (some / "again.yaml").write_text(text % "nobody/has-this-model")
    (some / "folder.yaml").write_text(text % (tmp_path / "no/such"))
    (some / "minilm.yaml").write_text("model: {text_encoder: bimcvr.models.MiniLM}")
    lines = {line.what: line for line in check_weights([], tmp_path / "experiments")}
    assert len(lines) == 3, "a model that two files name is looked for once"
    assert lines["weights: nobody/has-this-model"].state == "warning"
    assert "hf download nobody/has-this-model" in lines["weights: nobody/has-this-model"].remedy
    assert lines["weights: MiniLM"].state == "ok"
    assert lines[f"weights: {tmp_path / 'no/such'}"].state == "failing"
    assert states(list(check_weights([some / "hub.yaml"], tmp_path))) == ["failing"]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    (broken / "model.safetensors").write_bytes(b"nothing")
    (broken / "tokenizer.json").write_text("{")
    (some / "folder.yaml").write_text(text % broken)
    assert states(list(check_weights([some / "folder.yaml"], tmp_path))) == ["failing"]
    (some / "latin.yaml").write_bytes(b"a: \xe9")
    assert states(list(check_weights([some / "latin.yaml"], tmp_path)))[0] == "failing"
    (some / "bad.yaml").write_text("a: [")
    assert states(list(check_weights([some / "bad.yaml"], tmp_path)))[0] == "failing"


def test_damaged_cache_entries_and_leftovers(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    (folder / "00").mkdir(parents=True)
    assert states(list(check_cache(folder))) == ["warning"]
    whole = next((run.parents[2] / "cache").glob("*/*.ct")).read_bytes()
    (folder / "00/a.ct").write_bytes(whole)
    assert states(list(check_cache(folder))) == ["ok"]
    for damage in (whole[:-40], b"\x07" + whole[1:], b"", whole[100:]):
        (folder / "00/b.ct").write_bytes(damage)
        line = next(iter(check_cache(folder)))
        assert (line.state, "b.ct" in line.found) == ("failing", True)
        assert "Delete" in line.remedy
    (folder / "00/b.ct").unlink()
    left = folder / "00/.writing-x.ct"
    left.write_bytes(b"half")
    assert states(list(check_cache(folder))) == ["ok"], "somebody may be writing it now"
    os.utime(left, (time.time() - 7200,) * 2)
    lines = list(check_cache(folder))
    assert states(lines) == ["ok", "warning"]
    assert str(left) in lines[1].found
    assert states(list(check_cache(folder / "00/a.ct"))) == ["failing"]


def test_checkpoints_that_are_absent_damaged_foreign_or_stale(run: Path, tmp_path: Path) -> None:
    best = run / "checkpoints/best.ckpt"
    assert check_checkpoint(best).state == "ok"
    assert check_checkpoint(tmp_path / "no.ckpt").state == "failing"
    content = torch.load(best, weights_only=True)

    def changed(name: str, **parts: object) -> CheckResult:
        path = tmp_path / "some/checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**content, **parts}, path)
        return check_checkpoint(path)

    assert changed("alone.ckpt").state == "warning", "without its config"
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(best.read_bytes()[:-1000])
    assert "cannot be read" in check_checkpoint(cut).found
    assert "cannot be read" in changed("foreign.ckpt", state_dict=None).found
    older = {name.replace("project_image", "project_volume"): value for name, value in content["state_dict"].items()}
    stale = changed("stale.ckpt", state_dict=older)
    assert (stale.state, "does not fit this version" in stale.found) == ("failing", True)
    spoilt = {
        name: value * float("nan") if name == "project_image.weight" else value
        for name, value in content["state_dict"].items()
    }
    assert "project_image.weight" in changed("nan.ckpt", state_dict=spoilt).found

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {tmp_path}/evil",))

    assert changed("evil.ckpt", evil=Evil()).state == "failing"
    assert not (tmp_path / "evil").exists()


def test_wandb_online_without_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "runs/e/r/wandb/offline-run-1").mkdir(parents=True)
    assert check_wandb(tmp_path / "runs").state == "ok"
    assert "1 offline runs" in check_wandb(tmp_path / "runs").found
    monkeypatch.setenv("WANDB_MODE", "online")
    line = check_wandb(tmp_path / "runs")
    assert (line.state, "wandb login" in line.remedy) == ("failing", True)
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    assert check_wandb(tmp_path / "runs").state == "ok"
