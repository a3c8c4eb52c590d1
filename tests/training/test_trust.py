"""Opening a stranger's checkpoint, run or index runs none of his code; what the user names himself is built."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import bimcvr
from bimcvr.atomic_files import sha256_of
from bimcvr.cli import main
from bimcvr.errors import UserError
from bimcvr.parsing.trust import names_in, only_trusted, remember_own, split_trust
from helpers.cli import TINY, newest_run

MODULE = "a_strangers_parts"
PART = {"class_path": f"{MODULE}.Encoder", "init_args": {"dim": 8}}
CALLS = {"class_path": "LambdaCallback", "init_args": {"setup": f"{MODULE}.function"}}
MAPS = {"class_path": "torchio.Lambda", "init_args": {"function": f"{MODULE}.function"}}
CODE = """
from pathlib import Path
from helpers.toy_modules import PlainConv

(Path(__file__).parent / "imported").touch()

class Encoder(PlainConv):
    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        (Path(__file__).parent / "built").touch()

def function(*_):
    (Path(__file__).parent / "called").touch()
"""


@pytest.fixture(scope="module")
def trained(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the user's own."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "tiny.yaml").write_text(TINY)
    options = ["--data.manifest", tiny_cohort, "--runs", folder / "runs", "--trainer.max_epochs", 1]
    assert main(["fit", "--config", str(folder / "tiny.yaml"), *map(str, options)]) == 0
    return newest_run(folder / "runs")


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that can be imported from, whose module leaves files when it is run."""
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop(MODULE, None)


def traces(folder: Path) -> list[str]:
    return [name for name in ("imported", "built", "called") if (folder / name).exists()]


def given(trained: Path, folder: Path, in_checkpoint: Any = None, in_config: Any = None) -> Path:
    """Copy a run and change what its checkpoint or its config says of the model; return the checkpoint."""
    run = folder / "given/run"
    shutil.copytree(trained, run)
    best = run / "checkpoints/best.ckpt"
    if in_checkpoint is not None:
        content = torch.load(best, weights_only=True)
        content["hyper_parameters"] |= in_checkpoint
        torch.save(content, best)
    if in_config is not None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        for key, value in in_config.items():
            group, _, name = key.partition(".")
            config[group][name] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    return best


def test_no_verb_imports_what_a_checkpoint_names(
    trained: Path, stranger: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, own = stranger / "index", trained / "checkpoints/best.ckpt"
    indexing = ["--manifest", str(tiny_cohort), "--split", "test", "--jobs", "1"]
    assert main(["index", "--out", str(index), "--checkpoint", str(own), *indexing]) == 0
    best = given(trained, stranger, {"volume_encoder": PART})
    facts = json.loads((index / "index.json").read_text())
    text = json.dumps(facts).replace(str(own.resolve()), str(best)).replace(sha256_of(own), sha256_of(best))
    (index / "index.json").write_text(text)
    capsys.readouterr()
    for words in (
        ["index", "--out", str(stranger / "other"), "--checkpoint", str(best), *indexing],
        ["search", str(index), "a large nodule on the left"],
        ["serve", str(index), "--port", "0"],
    ):
        assert main(words) == 1, words
        said = " ".join(capsys.readouterr().err.split())
        assert f"{best} names {MODULE}.Encoder" in said
        assert f"--trust {MODULE}.Encoder" in said
    with pytest.raises(UserError, match=f"{MODULE}.Encoder"):
        bimcvr.load_model(best)
    assert main(["doctor", "--checkpoint", str(best), "--json"]) == 1
    line = next(line for line in json.loads(capsys.readouterr().out) if line["what"] == "checkpoint")
    assert (line["state"], MODULE in line["remedy"]) == ("failing", True)
    assert traces(stranger) == []
    assert bimcvr.load_model(best, trust=[f"{MODULE}.Encoder"]).dim == 12
    assert traces(stranger) == ["imported", "built"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model.volume_encoder": f"{MODULE}.Encoder"}, f"{MODULE}.Encoder"),
        ({"model.volume_encoder": "{folder}/part.yaml"}, "part.yaml"),
        ({"model.volume_encoder": {"class_path": "torch.jit.load", "init_args": {"f": "x.pt"}}}, "torch.jit.load"),
        ({"model.optimizer": f"{MODULE}.function"}, f"{MODULE}.function"),
        ({"trainer.callbacks": [CALLS]}, f"{MODULE}.function"),
        ({"trainer.logger": {"class_path": "pytorch_lightning.loggers.MLFlowLogger"}}, "MLFlowLogger"),
        ({"data.view_1": {"class_path": "torchio.Compose", "init_args": {"transforms": [MAPS]}}}, f"{MODULE}.function"),
        ({"data.view_1": {"class_path": "a.B", "init_args": [{"trust_remote_code": True}]}}, "trust_remote_code"),
    ],
)
def test_no_verb_imports_what_the_config_beside_names(
    trained: Path, stranger: Path, change: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (stranger / "part.yaml").write_text(yaml.safe_dump(PART))
    change = json.loads(json.dumps(change).replace("{folder}", str(stranger)))
    best = given(trained, stranger, in_config=change)
    assert main(["test", "--checkpoint", str(best)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert named in said
    assert str(best.parents[1] / "config.yaml") in said
    assert traces(stranger) == []


def test_what_the_command_line_names_is_built(
    trained: Path, stranger: Path, tiny_cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = given(trained, stranger, in_config={"model.volume_encoder": PART})
    assert main(["predict", "--checkpoint", str(best), "--trust", "another.Part"]) == 1
    assert traces(stranger) == []
    assert main(["validate", "--checkpoint", str(best), "--trust", MODULE]) == 0
    assert traces(stranger) == ["imported", "built"]
    shutil.rmtree(stranger / "given")
    best = given(trained, stranger)
    assert main(["predict", "--checkpoint", str(best), "--model.volume_encoder", f"{MODULE}.Encoder"]) == 0


def test_a_checkpoint_may_not_ask_for_remote_code(trained: Path, stranger: Path) -> None:
    text = {"class_path": "helpers.toy_modules.HashText", "dict_kwargs": {"kwargs": [{"trust_remote_code": "yes"}]}}
    best = given(trained, stranger, {"text_encoder": text})
    with pytest.raises(UserError, match="sets trust_remote_code"):
        bimcvr.load_model(best, trust=["helpers"])


def test_own_classes_are_known_by_their_file(
    trained: Path, stranger: Path, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = json.loads((own_state / "bimcvr/own_classes.json").read_text())
    assert known["helpers.toy_modules.PlainConv"].endswith("helpers/__init__.py")
    monkeypatch.setenv("XDG_STATE_HOME", str(stranger / "state"))
    best = trained / "checkpoints/best.ckpt"
    with pytest.raises(UserError, match=r"--trust helpers.toy_modules.\w+"):
        bimcvr.load_model(best)
    remember_own({"model": {"volume_encoder": {"class_path": "helpers.toy_modules.PlainConv"}}})
    with pytest.raises(UserError, match=r"--trust helpers.toy_modules.HashText"):
        bimcvr.load_model(best)
    remember_own(yaml.safe_load((trained / "config.yaml").read_text()))
    assert bimcvr.load_model(best).dim == 12
    file = stranger / "state/bimcvr/own_classes.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({**known, "helpers.made.<locals>.Part": known["helpers.toy_modules.PlainConv"]}))
    assert bimcvr.load_model(best).dim == 12
    file.write_text(file.read_text().replace("/helpers/", "/others/"))
    with pytest.raises(UserError, match="--trust helpers"):
        bimcvr.load_model(best)


def test_names_on_a_command_line(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("class_path: mine.Other\n")
    words = ["--model.fusion=mine.Fusion", "--trainer.callbacks+", "mine.Callback", "--data.manifest", "mine.csv"]
    words += ["--model.volume_encoder", str(tmp_path / "part.yaml")]
    named = names_in(words)
    assert named[:2] == ["mine.Fusion", "mine.Callback"]
    assert "mine.Other" in named
    assert "mine.csv" not in named
    assert split_trust(" mine.A, mine ") == ["mine.A", "mine"]
    for wrong in ("a b", "mine/a.py", "jsonargparse"):
        with pytest.raises(UserError, match="--trust"):
            split_trust(wrong)


def test_the_settings_are_restored() -> None:
    from jsonargparse._common import parsing_settings

    before = dict(parsing_settings)
    with only_trusted(Path("x"), {}):
        assert parsing_settings["import_path_verdicts"]["*"] is False
    assert parsing_settings == before
