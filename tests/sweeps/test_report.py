"""What a sweep leaves for people: a table that cuts no number, and which parameter matters."""

from pathlib import Path

import optuna
import pytest
import yaml
from PIL import Image

from bimcvr.evaluation.columns import columns
from bimcvr.sweeps.config import Sweep, read_sweep
from bimcvr.sweeps.report import draw_importance, failures, trials_rows


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    content = {
        "program": "quick_fit.py",
        "method": "bayes",
        "metric": {"name": "val/score", "goal": "maximize"},
        "parameters": {
            "model.optimizer.lr": {"distribution": "uniform", "min": 0.0, "max": 1.0},
            "data.batch_size": {"distribution": "int_uniform", "min": 2, "max": 64},
        },
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    return read_sweep(tmp_path / "sweep.yaml")


def studied(count: int) -> optuna.Study:
    """Trials whose metric is the learning rate's alone; the last one failed."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(count):
        trial = study.ask()
        values = {
            "model.optimizer.lr": trial.suggest_float("model.optimizer.lr", 0, 1),
            "data.batch_size": trial.suggest_int("data.batch_size", 2, 64),
        }
        for name, value in {"place": number, "values": values, "seconds": 1.5, "command": "fit"}.items():
            trial.set_user_attr(name, value)
        if number == count - 1:
            trial.set_user_attr("failed", "exit code 1")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, values["model.optimizer.lr"])
    return study


def test_the_table_has_every_trial_and_no_cut_number(sweep: Sweep) -> None:
    trials = studied(4).get_trials()
    rows = trials_rows(sweep, trials)
    assert rows[0] == ["trial", "val/score", "seconds", "batch_size", "lr"]
    assert [row[1] for row in rows[1:]] == [*sorted((row[1] for row in rows[1:4]), reverse=True), "failed"]
    lines = columns(rows, 80)
    assert all(len(line) <= 80 and "…" not in line for line in lines)
    assert failures(trials) == ["trial 3 failed: exit code 1"]


def test_the_importance_of_parameters_is_drawn(sweep: Sweep, tmp_path: Path) -> None:
    found = draw_importance(studied(12), sweep, tmp_path / "importance.png")
    assert found["model.optimizer.lr"] > 0.8 > found["data.batch_size"]
    with Image.open(tmp_path / "importance.png") as picture:
        assert picture.width > 300
    assert draw_importance(studied(3), sweep, tmp_path / "few.png") == {}
    assert not (tmp_path / "few.png").exists()
