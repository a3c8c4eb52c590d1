"""A sweep on this machine: killed at any moment it goes on, and proposes what it would have proposed."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimcvr.cli import main
from bimcvr.sweeps.trial import describe_end
from helpers.cli import TINY, environment

QUICK = Path(__file__).parent / "quick_fit.py"
BASE: dict[str, Any] = {
    "program": str(QUICK),
    "method": "bayes",
    "run_cap": 8,
    "metric": {"name": "val/score", "goal": "maximize"},
    "parameters": {"lr": {"distribution": "uniform", "min": 0.0, "max": 1.0}, "kind": {"values": ["a", "b"]}},
}


def sweep_file(folder: Path, seconds: float = 0, **changed: Any) -> Path:
    path = folder / "some.yaml"
    command = ["${env}", "${interpreter}", "${program}", "${args}", f"--seconds={seconds}"]
    path.write_text(yaml.safe_dump({**BASE, "command": command, **changed}))
    return path


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").open()))


def plain(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """What a table says of proposals and results, whatever their times."""
    return [(row["trial"], row["state"], row["lr"], row["kind"], row["val/score"]) for row in rows]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "method", ["bayes", *(pytest.param(other, marks=pytest.mark.slow) for other in ("random", "grid"))]
)
def test_a_sweep_of_eight_is_killed_resumes_and_equals_an_undisturbed_one(method: str, tmp_path: Path) -> None:
    changed: dict[str, Any] = {"method": method}
    if method == "grid":
        changed["parameters"] = {"lr": {"values": [0.1, 0.2, 0.3, 0.4]}, "kind": {"values": ["a", "b"]}}
    file = sweep_file(tmp_path, seconds=0.3, **changed)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(["sweep", str(file), "--local", "true", "--out", str(whole)]) == 0
    command = [sys.executable, "-m", "bimcvr", "sweep", str(file), "--local", "true", "--out", str(cut)]

    def begun() -> list[str]:
        return (cut / "started.txt").read_text().splitlines() if (cut / "started.txt").exists() else []

    for after in (2, 5):  # trials begun when the kill falls
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while time.monotonic() < until and len(begun()) < after:
            assert process.poll() is None, "the sweep ended before its kill"
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        child = int(begun()[-1].split()[0])
        time.sleep(0.1)
        assert not alive(child), "a trial outlived its sweep"
    assert len(table(cut)) < 8
    assert main(["sweep", str(file), "--local", "true", "--out", str(cut)]) == 0
    rows = table(cut)
    assert len(rows) == 8
    assert len(begun()) > 8, "what was interrupted ran again"
    assert plain(rows) == plain(table(whole))
    assert all(row["state"] == "done" for row in rows)
    assert len({(row["lr"], row["kind"]) for row in rows}) == 8, "no proposal twice"


@pytest.mark.parametrize("moment", ["enqueue_trial", "ask", "set_user_attr", "tell"])
def test_a_kill_between_any_two_records_loses_and_doubles_nothing(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped right after each kind of record is made, over and over, the sweep has each point of its grid once."""
    import optuna

    file = sweep_file(
        tmp_path,
        method="grid",
        parameters={"lr": {"values": [0.1, 0.9, 0.3]}, "kind": {"values": ["a"]}, "fails_above": {"value": 0.5}},
    )
    owner = optuna.trial.Trial if moment == "set_user_attr" else optuna.study.Study
    plain_call, calls = getattr(owner, moment), 0

    class Killed(BaseException):
        pass

    def killed(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        value = plain_call(*arguments, **options)
        if calls in {1, 2, 4, 7, 11, 16, 22, 29, 37, 46}:  # ever further apart: each gap hits another place
            raise Killed
        return value

    monkeypatch.setattr(owner, moment, killed)
    for _ in range(40):
        try:
            code = main(["sweep", str(file), "--local", "--out", str(tmp_path / "s")])
            break
        except Killed:
            continue
    assert code == 3
    rows = table(tmp_path / "s")
    assert [(row["trial"], row["lr"], row["state"]) for row in rows] == [
        ("0", "0.1", "done"),
        ("1", "0.9", "failed"),
        ("2", "0.3", "done"),
    ]


def test_the_best_epoch_counts_and_the_best_command_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file(
        tmp_path, method="grid", parameters={"lr": {"values": [0.9, 0.3, 0.1]}, "kind": {"values": ["a"]}}
    )
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 0
    rows = table(tmp_path / "s")
    assert [float(row["val/score"]) for row in rows] == pytest.approx([50 - 0.36, 50, 50 - 0.04])
    printed = capsys.readouterr().out
    assert printed.strip().splitlines()[-1] == rows[1]["command"]
    assert "--lr=0.3" in rows[1]["command"]
    assert "trial 2 (3 of 3)" in printed
    before = (tmp_path / "s/started.txt").read_text()
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 0
    assert (tmp_path / "s/started.txt").read_text() == before, "a finished sweep only prints its table"


@pytest.mark.slow
def test_bayes_comes_closer_than_chance(tmp_path: Path) -> None:
    """After ten random proposals the model's crowd the best rate, 0.3."""
    file = sweep_file(tmp_path, run_cap=26)
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 0
    rates = [abs(float(row["lr"]) - 0.3) for row in table(tmp_path / "s")]
    assert sorted(rates[10:])[8] < sorted(rates[:10])[5] / 2, "the median of the model's proposals is twice as close"


def test_failures_are_told_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters = {"lr": {"values": [0.2, 0.9, 0.3]}, "kind": {"value": "a"}, "fails_above": {"value": 0.5}}
    file = sweep_file(tmp_path, method="grid", parameters=parameters)
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 3
    assert [row["state"] for row in table(tmp_path / "s")] == ["done", "failed", "done"]
    assert table(tmp_path / "s")[1]["why"] == "exit code 1"
    assert "best: trial 2" in capsys.readouterr().out


def test_a_sweep_without_a_trial_that_succeeds_has_failed(tmp_path: Path) -> None:
    """The exit code of a stopped trial is how it is listed, whether the shell's or the signal's own."""
    parameters = {"lr": {"values": [0.9]}, "kind": {"value": "a"}, "fails_above": {"value": 0.5}}
    file = sweep_file(tmp_path, method="grid", parameters=parameters)
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 1
    assert [describe_end(code) for code in (143, -15, 130, 2)] == [
        "stopped by SIGTERM",
        "stopped by SIGTERM",
        "stopped by SIGINT",
        "exit code 2",
    ]


def test_a_sweep_whose_every_trial_fails_stops_with_the_log_s_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = {"lr": {"values": [0.6, 0.7, 0.8, 0.9]}, "kind": {"value": "a"}, "fails_above": {"value": 0.5}}
    file = sweep_file(tmp_path, method="grid", parameters=parameters)
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 1
    told = capsys.readouterr().err
    assert "The first 3 trials all failed" in told
    assert "the loss is not finite" in told


def test_more_trials_may_be_asked_for_and_a_target_ends_a_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file(tmp_path, run_cap=2)
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s")]) == 0
    assert main(["sweep", str(file), "--local", "true", "--out", str(tmp_path / "s"), "--trials", "4"]) == 0
    assert len(table(tmp_path / "s")) == 4
    metric = {"name": "val/score", "goal": "maximize", "target": 40}
    assert (
        main(["sweep", str(sweep_file(tmp_path, metric=metric)), "--local", "true", "--out", str(tmp_path / "t")]) == 0
    )
    assert len(table(tmp_path / "t")) == 1
    assert "target val/score 40.0 is reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"method": "magic"}, "`method` is 'magic'"),
        ({"metric": {}}, "`metric` needs a `name`"),
        ({"early_stop": 1}, "no key 'early_stop'"),
        ({"parameters": {}}, "names nothing"),
        ({"run_cap": None}, "never ends by itself"),
        ({"run_cap": 0}, "run_cap is 0"),
        ({"command": ["${nonsense}"]}, "macro ${nonsense}"),
        ({"parameters": {"lr": {"distribution": "beta"}}}, "no distribution 'beta'"),
    ],
)
def test_a_wrong_file_is_refused_by_name(
    changed: dict[str, Any], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(sweep_file(tmp_path, **changed)), "--local", "true", "--out", str(tmp_path / "s")]) == 1
    assert named in capsys.readouterr().err


def test_a_folder_is_one_sweep_s_and_one_process_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "s"
    assert main(["sweep", str(sweep_file(tmp_path, run_cap=1)), "--local", "true", "--out", str(folder)]) == 0
    other = sweep_file(tmp_path, run_cap=1, parameters={"lr": {"min": 0.5, "max": 0.6}, "kind": {"value": "a"}})
    assert main(["sweep", str(other), "--local", "true", "--out", str(folder)]) == 1
    assert "another sweep" in capsys.readouterr().err
    slow = sweep_file(tmp_path, seconds=20)
    command = [sys.executable, "-m", "bimcvr", "sweep", str(slow), "--local", "true", "--out", str(tmp_path / "t")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "t/started.txt").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert main(["sweep", str(slow), "--local", "true", "--out", str(tmp_path / "t")]) == 1
        assert "Another process" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()


def test_without_a_login_the_way_out_is_named(tmp_path: Path) -> None:
    kept = {name: value for name, value in environment().items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-m", "bimcvr", "sweep", str(sweep_file(tmp_path))]
    alone = {**kept, "HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        command, env=alone, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 1
    for way in ("wandb login", "WANDB_API_KEY", "--local"):
        assert way in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run(
        command, env={**alone, "WANDB_MODE": "offline"}, capture_output=True, text=True, timeout=180, check=False
    )
    assert (done.returncode, "WANDB_MODE is offline" in done.stderr) == (1, True)


def test_on_wandb_the_whole_file_is_sent_and_this_process_becomes_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    told: list[Any] = []
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "sweep", lambda content, project: told.append((content, project)) or "abc")
    monkeypatch.setattr(
        wandb, "agent", lambda name, project, count: told.append((name, project, count, shutil.which("python")))
    )
    file = sweep_file(tmp_path, project="mine", early_terminate={"type": "hyperband", "min_iter": 3})
    assert main(["sweep", str(file), "--trials", "5"]) == 0
    (content, project), agent = told
    assert (content, project) == (yaml.safe_load(file.read_text()), "mine")
    assert agent[:3] == ("abc", "mine", 5)
    assert Path(agent[3]).parent == Path(sys.executable).parent, "the agent's plain `python` is this one"


def test_a_run_of_an_agent_is_online_by_default_and_any_other_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for sweep_id, mode in (("x", "online"), (None, "offline")):
        monkeypatch.setenv("WANDB_MODE", "")
        monkeypatch.delenv("WANDB_MODE")
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep_id or "")
        if sweep_id is None:
            monkeypatch.delenv("WANDB_SWEEP_ID")
        with pytest.raises(SystemExit):
            main(["fit", "--print_config"])
        assert os.environ["WANDB_MODE"] == mode


@pytest.mark.slow
def test_a_killed_fit_goes_on_from_its_last_epoch(tiny_cohort: Path, tmp_path: Path) -> None:
    """With the real `fit`: the trial that was running is not trained from the beginning."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = [
        "${env}",
        "${interpreter}",
        "-m",
        "bimcvr",
        "fit",
        f"--config={tmp_path}/tiny.yaml",
        f"--data.manifest={tiny_cohort}",
        "--trainer.max_epochs=40",
        "${args}",
    ]
    file = sweep_file(
        tmp_path, method="grid", command=words, parameters={"model.optimizer.init_args.lr": {"values": [0.01]}}
    )
    folder = tmp_path / "s"
    command = [sys.executable, "-m", "bimcvr", "sweep", str(file), "--local", "true", "--out", str(folder)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(folder.glob("trials/000/*/*/checkpoints/last.ckpt")) and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (folder / "trials.csv").exists(), "killed within the trial"
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "trial 0 was interrupted" in done.stdout
    assert len(list(folder.glob("trials/000/*/*"))) == 1, "one run folder"
    logs = [
        list(csv.DictReader(path.open())) for path in sorted(folder.glob("trials/000/*/*/logs/version_*/metrics.csv"))
    ]
    assert len(logs) == 2
    assert int(logs[1][0]["epoch"]) > 0
    assert float(table(folder)[0]["val/score"]) == max(
        float(row["val/score"]) for log in logs for row in log if row["val/score"]
    )
