"""The wheel holds every file of the package, and works outside of a checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
NOT_CODE = ("README.md", "LICENSE", "THIRD_PARTY.md", "setup.cfg", "pyproject.toml")


def package_files() -> list[str]:
    """The files of `src` that git knows or would add."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that neither an old build folder nor this checkout takes part."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in [*package_files(), *NOT_CODE]:
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    command += ["--wheel-dir", str(folder), str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("bimcvr-*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name.removeprefix("src/") for name in package_files()}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        for notice in ("LICENSE", "THIRD_PARTY.md"):
            assert any(name.endswith(f"licenses/{notice}") for name in archive.namelist())
        assert "bimcvr = bimcvr.cli:main" in archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    for line in (
        "Author: The bimcvr developers",
        "License-Expression: Apache-2.0",
        "Classifier: Operating System :: POSIX",
        "Classifier: Programming Language :: Python :: 3.13",
        "Requires-Python: >=3.11",
        "Provides-Extra: search",
    ):
        assert line in text.splitlines()


def test_the_unpacked_wheel_runs_outside_of_a_checkout(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import bimcvr, sys; from bimcvr.cli import main; from bimcvr.presets import preset\n"
        "print(bimcvr.__file__); print(preset('experiments/phantom/base.yaml')); sys.exit(main(['--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    module, experiment, usage = done.stdout.splitlines()[:3]
    assert Path(module).is_relative_to(tmp_path)
    assert Path(experiment).is_file()
    assert usage.startswith("usage: bimcvr")
