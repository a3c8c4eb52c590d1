"""What starts in an instant loads nothing heavy; measured in modules, since seconds depend on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from bimcvr.cli import main

# each of them costs more than the whole of `bimcvr --help` may: 0.3 s
HEAVY = ("torch", "numpy", "pandas", "jsonargparse", "yaml", "rich", "matplotlib", "pytorch_lightning", "scipy")


@pytest.mark.parametrize(
    "code",
    [
        "import bimcvr",
        "from bimcvr.cli import main; main(['--help'])",
        "from bimcvr.cli import main; main(['--version'])",
        "from bimcvr.cli import main; main(['fti'])",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    check = f"import sys\n{code}\nprint('loaded', *(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["fit", "--help"], ["curate", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str]) -> None:
    """As `| head -0`: the pipe is closed before anything is written."""
    command = subprocess.Popen(
        [sys.executable, "-m", "bimcvr", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    told = command.stderr.read()
    command.stderr.close()
    assert command.wait() in (0, 1)
    assert "Traceback" not in told
    assert "Exception ignored" not in told


def test_the_script_finds_classes_of_the_working_folder(tmp_path: Path) -> None:
    """As `python -m bimcvr` does."""
    (tmp_path / "mine.py").write_text("def main(): ...\n")
    script = tmp_path / "bin/bimcvr"
    script.parent.mkdir()
    script.write_text("import sys\nfrom bimcvr.cli import main\nmain()\nimport mine\nprint('found', mine.__file__)\n")
    done = subprocess.run(
        [sys.executable, script, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(tmp_path / "mine.py") in done.stdout


def test_a_word_that_is_like_no_verb_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
    assert main(["serch"]) == 2
    assert "Did you mean 'search'?" in capsys.readouterr().err
