"""What README, docs and experiments promise runs."""

import contextlib
import functools
import io
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimcvr.cli import VERBS, main
from helpers.cli import TINY, newest_run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXPERIMENTS = sorted(
    path for folder in ("bimcv_r", "phantom") for path in (ROOT / "src/bimcvr/experiments" / folder).glob("*.yaml")
)


def commands() -> list[str]:
    """Every line of a code block that begins with `python -m bimcvr`, each once, whichever run it names."""
    blocks = [
        block for page in PAGES for block in re.findall(r"```[a-z]*\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ]
    joined = [re.sub(r" *\\\n *", " ", block) for block in blocks]  # a line that ends with a backslash goes on
    lines = [line.split("  #")[0].strip() for block in joined for line in block.splitlines()]
    return sorted({re.sub(r"runs/\S*…/", "runs/…/", line) for line in lines if line.startswith("python -m bimcvr")})


@pytest.fixture(scope="module")
def checkpoint(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and tested model of the tiny cohort."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "tiny.yaml").write_text(TINY)
    options = ["--data.manifest", str(tiny_cohort), "--runs", str(folder / "runs")]
    assert main(["fit", "--config", str(folder / "tiny.yaml"), *options]) == 0
    best = newest_run(folder / "runs") / "checkpoints/best.ckpt"
    assert main(["test", "--ckpt_path", str(best)]) == 0
    return best


@pytest.fixture(scope="module")
def index(checkpoint: Path, tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its index; each command gets a copy."""
    folder = tmp_path_factory.mktemp("docs_index") / "index"
    options = ["--checkpoint", str(checkpoint), "--manifest", str(tiny_cohort), "--jobs", "1"]
    assert main(["index", *options, "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_runs(
    command: str, checkpoint: Path, index: Path, tiny_cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written, on the tiny cohort; a fit only resolves its configuration, and a server only prints its help."""
    command = command.replace("runs/…/checkpoints/best.ckpt", str(checkpoint))
    embeddings = str(checkpoint.parents[1] / "embeddings.npz")
    command = re.sub(r"runs/…/embeddings\.npz|other\.npz", embeddings, command)
    command = re.sub(r"\b(manifest|other)\.csv", str(tiny_cohort), command)
    command = command.replace("scan.nii.gz", str(tiny_cohort.parent / "s25.nii.gz"))
    command = command.replace("sub-0001_ses-1_run-1", "s25").replace("[96, 224, 224]", "[12, 16, 16]")
    command = command.replace("[32, 64, 128]", "[2, 4]")
    words = [word.strip() for word in shlex.split(command)[3:]]
    monkeypatch.chdir(tmp_path)
    if words[0] == "dry-run":
        words += ["--data.batch_size", "2"]
    if words[0] == "phantom":
        words += ["--patients", "3", "--jobs", "1"]  # joblib's workers may still be in another test's folder
    if words[0] == "search" or "--remove" in words:
        shutil.copytree(index, "index")
    if words[0] == "curate":
        assert main(["phantom", "phantoms", "--patients", "4", "--archive", "folders", "--jobs", "1"]) == 0
        assert main([*words, "--jobs", "1"]) in (0, 3)
        return
    if words[0] == "embed":  # the published models need their extra and their weights
        model = {
            "volume_encoder": "helpers.toy_modules.FixedConv",
            "text_encoder": {"class_path": "helpers.toy_modules.HashText", "init_args": {"dim": 8}},
            "map_volumes": False,
            "fusion": "bimcvr.models.FirstView",
        }
        Path("small.yaml").write_text(yaml.safe_dump({"data": {"size": [8, 8, 8]}, "model": model}))
        words[words.index("--model") + 1] = "small.yaml"
    if words[0] in ("serve", "review", "fit"):
        # a server would not end: tests/search/serve and tests/curation start them
        words.append("--print_config" if words[0] == "fit" else "--help")
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        return
    assert main(words) == 0


def test_pages_name_only_what_exists() -> None:
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / name).exists(), f"{page.name} links to {name}"
        for name in re.findall(r"experiments/[\w/]+\.yaml", text):
            assert (ROOT / "src/bimcvr" / name).is_file(), f"{page.name} names {name}"
        for verb in re.findall(r"python -m bimcvr ([\w-]+)", text):
            assert verb in VERBS or verb == "VERB", f"{page.name} names the verb {verb}"


def overlay(path: Path) -> bool:
    return path.read_text().splitlines()[1] == "# over: any"


def chain(path: Path) -> list[Path]:
    """The files an experiment is given with: its folder's base, what its second line says it goes over, itself.

    `# over: any` marks a file that goes over every experiment of its folder; alone it goes over the base.
    """
    second = path.read_text().splitlines()[1]
    over = (
        chain(path.parent / second.removeprefix("# over: "))[1:]
        if second.startswith("# over: ") and not overlay(path)
        else []
    )
    return [path.parent / "base.yaml", *over, path]


@functools.cache
def resolve(*files: Path) -> dict[str, Any]:
    """What `fit` makes of some files, as --print_config shows it."""
    words = [word for file in files for word in ("--config", str(file))]
    shown = io.StringIO()
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(shown):
        main(["fit", *words, "--data.manifest", "m.csv", "--print_config"])
    assert ended.value.code == 0
    resolved: dict[str, Any] = yaml.safe_load(shown.getvalue())
    return resolved


QUESTIONS = [path for path in EXPERIMENTS if path.stem != "base" and not overlay(path)]


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_experiment_resolves(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# "), "its first line says which question it answers"
    resolved = resolve(*chain(path))
    assert resolved["experiment"] == (f"phantom_{path.stem}" if path.parent.name == "phantom" else path.stem)
    assert resolved["trainer"]["gradient_clip_val"] == 1.0


@pytest.mark.parametrize(
    "path", [path for path in EXPERIMENTS if overlay(path)], ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_an_overlay_changes_only_the_trainer_of_any_experiment(path: Path) -> None:
    assert set(yaml.safe_load(path.read_text())) == {"trainer"}
    for question in QUESTIONS:
        if question.parent == path.parent:
            with_it, without = (dict(resolve(*chain(question), *more)) for more in ([path], []))
            assert with_it.pop("trainer") != without.pop("trainer")
            assert with_it == without
