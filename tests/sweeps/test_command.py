"""A trial's command is the one that W&B's own agent starts, and our sweeps' commands parse."""

import queue
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.sweeps.command import expand
from bimcvr.sweeps.config import read_sweep
from helpers.cli import newest_run
from test_docs import chain

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "src/bimcvr/experiments/sweeps").glob("*.yaml"))
VALUES: dict[str, Any] = {
    "model.optimizer.init_args.lr": 1e-05,
    "data.two_views": False,
    "model.whiten_text": True,
    "data.strategy": "null",
    "data.size": [12, 16, 16],
    "model.embed_dim": 8,
}


def started_by_wandb(
    command: list[str], values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> list[str]:
    """What W&B's agent would start for a run that the server asks for."""
    from wandb import wandb_agent

    started: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str], **_: Any) -> None:
            started.append(command)

    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    for name in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, str(folder))
    agent = wandb_agent.Agent(api=None, queue=queue.Queue(), sweep_id="s")
    agent._sweep_command = list(command)
    told = {name: {"value": value} for name, value in values.items()}
    response = agent._process_command({"type": "run", "run_id": "r", "program": "train.py", "args": told})
    monkeypatch.delenv("WANDB_SWEEP_ID")  # a `fit` in this process would ask the server
    assert "exception" not in response, response
    return started[0]


@pytest.mark.parametrize(
    "command",
    [
        ["${env}", "${interpreter}", "-m", "bimcvr", "fit", "--config", "a b.yaml", "${args}"],
        ["${env}", "${interpreter}", "${program}", "${args_no_boolean_flags}", "last"],
        [
            "sh",
            "-c",
            "${args_no_hyphens}",
            "--root=${envvar:SOME_PLACE}/x${envvar:SOME_PLACE}",
            "${envvar:SOME_PLACE}",
            "half ${env} word",
        ],
    ],
    ids=["ours", "program", "variables"],
)
def test_expansion_is_that_of_wandb_s_agent(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PLACE", "/data")
    assert expand(command, "train.py", VALUES) == started_by_wandb(command, VALUES, monkeypatch, tmp_path)


def test_what_wandb_would_drop_or_guess_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(UserError, match=r"macro \$\{argz\}"):
        expand(["${argz}"], "", {})
    with pytest.raises(UserError, match="NOT_SET, which is not set"):
        expand(["--x=${envvar:NOT_SET}"], "", {})


def some_values(path: Path, high: bool) -> dict[str, Any]:
    return {one.name: one.value(one.high if high else one.low) for one in read_sweep(path).dimensions}


@pytest.mark.parametrize("high", [False, True], ids=["lowest", "highest"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_s_command_parses(
    path: Path, high: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As W&B's agent starts it, and with every parameter where it belongs."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("BIMCVR_MANIFEST", "some.csv")
    values = some_values(path, high)
    command = list(yaml.safe_load(path.read_text())["command"])
    started = started_by_wandb(command, values, monkeypatch, tmp_path)
    assert started[:4] == ["/usr/bin/env", "python", "-m", "bimcvr"]
    with pytest.raises(SystemExit) as ended:
        main([*started[4:], "--print_config"])
    assert ended.value.code == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert resolved["data"]["manifest"] == "some.csv"
    for name, value in values.items():
        at = resolved
        for part in name.split("."):
            at = at[part]
        assert at == value, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_s_command_names_the_files_that_its_last_one_goes_over(path: Path) -> None:
    named = [
        ROOT / "src/bimcvr" / word.removeprefix("--config=")
        for word in yaml.safe_load(path.read_text())["command"]
        if word.startswith("--config=")
    ]
    assert named == chain(named[-1])


@pytest.mark.slow
def test_a_command_trains_two_steps(tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of `phantom_bayes`, with its lowest values, a small grid and small towers."""
    path = ROOT / "src/bimcvr/experiments/sweeps/phantom_bayes.yaml"
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("BIMCVR_MANIFEST", str(tiny_cohort))
    values = some_values(path, high=False)
    started = started_by_wandb(list(yaml.safe_load(path.read_text())["command"]), values, monkeypatch, tmp_path)
    overlays = [
        word
        for name in ("every", "WindowChannels")
        for word in ("--config", str(ROOT / f"tests/experiments/small/{name}.yaml"))
    ]
    files = sum(word.startswith("--config=") for word in started)
    at = next(place for place, word in enumerate(started) if word.startswith("--config=")) + files
    assert main([*started[4:at], *overlays, *started[at:], "--runs", str(tmp_path / "runs")]) == 0
    run = newest_run(tmp_path / "runs")
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["model"]["optimizer"]["init_args"]["lr"] == values["model.optimizer.init_args.lr"]
    assert resolved["model"]["text_encoder"]["init_args"]["sentences"], "quick.yaml is below strong.yaml"


def test_there_are_both_methods_for_both_datasets() -> None:
    methods = {(path.stem.rsplit("_", 1)[0], read_sweep(path).method) for path in FILES}
    assert methods >= {("phantom", "bayes"), ("phantom", "grid"), ("bimcv_r", "bayes"), ("bimcv_r", "grid")}
    for path in FILES:
        assert path.read_text().startswith("# "), "its first line says which question it answers"
