"""Every experiment trains two steps on a tiny phantom cohort, with small towers swapped in by YAML.

`tests/small/every.yaml` goes over all of them; `tests/small/CLASS.yaml` over those that name CLASS (the last file that
does decides), and makes that part small or takes another in its place. All else is as shipped.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bimcvr.cli import main
from helpers.cli import newest_run
from test_docs import EXPERIMENTS, chain

SMALL = Path(__file__).parent / "small"
CASES = [path for path in EXPERIMENTS if path.stem != "base"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of phantoms, enough for a batch in each split; its cache is shared by all cases of one grid."""
    folder = tmp_path_factory.mktemp("phantoms")
    assert main(["phantom", str(folder), "--patients", "24", "--jobs", "1"]) == 0
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    number = table.groupby("patient_id").ngroup()
    table["split"] = np.select([number < 15, number < 19], ["train", "val"], "test")
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def classes(files: list[Path]) -> list[str]:
    """The classes that the files leave in `model`, and in the parts of its parts, by their last names."""
    parts: dict[str, list[str]] = {}
    for file in files:
        for name, part in (yaml.safe_load(file.read_text()).get("model") or {}).items():
            named = within(part)
            # a file that names the same class again changes only what it says
            parts[name] = parts[name] + named[1:] if named and parts.get(name, [""])[0] == named[0] else named
    return list(dict.fromkeys(path.rsplit(".", 1)[-1] for named in parts.values() for path in named))


def within(part: object) -> list[str]:
    """The class of a part, then those of its own parts."""
    if isinstance(part, str):
        return [part] if re.fullmatch(r"[a-z_]\w*(\.\w+)+", part) else []
    if not isinstance(part, dict):
        return []
    first = [part["class_path"]] if "class_path" in part else []
    return first + [
        path for inner in (part.get("init_args") or {}).values() if isinstance(inner, dict) for path in within(inner)
    ]


def words(files: list[Path], cohort: Path, runs: Path) -> list[str]:
    names = classes(files)
    if "WindowChannels" in names:  # whose overlay makes the encoder within it small
        names.remove("ResNet3D")
    overlays = [file for name in names if (file := SMALL / f"{name}.yaml").is_file()]
    named = [word for file in (*files, SMALL / "every.yaml", *overlays) for word in ("--config", str(file))]
    return [*named, "--data.manifest", str(cohort), "--runs", str(runs)]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_two_steps(path: Path, cohort: Path, tmp_path: Path) -> None:
    if (yaml.safe_load(path.read_text()).get("trainer") or {}).get("max_epochs") == 0 or "zero_shot" in path.stem:
        assert main(["test", *words(chain(path), cohort, tmp_path)]) == 0  # there is nothing to train
        assert json.loads((newest_run(tmp_path) / "result.json").read_text())["about"]["zero_shot"]
        return
    assert main(["fit", *words(chain(path), cohort, tmp_path)]) == 0
    state = torch.load(newest_run(tmp_path) / "checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 2
    assert all(torch.isfinite(value).all() for name, value in state["state_dict"].items() if value.is_floating_point())


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_option_that_does_not_exist_is_refused(
    path: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whatever part of the file: at the top of a section, or among the options of a class that is swapped later."""
    text = path.read_text()
    places = [
        *re.finditer(r"init_args: *\{", text),
        *re.finditer(r"^(trainer|data|model):$\n(?=  )", text, flags=re.MULTILINE),
    ]
    assert places
    for place in places:
        added = "no_such: 1, " if place.group().endswith("{") else "  no_such: 1\n"
        broken = tmp_path / path.name
        broken.write_text(text[: place.end()] + added + text[place.end() :])
        files = [file if file != path else broken for file in chain(path)]
        assert main(["fit", *words(files, cohort, tmp_path / "runs")]) == 1, added
        assert "no_such" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
