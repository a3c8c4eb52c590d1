"""The files around the code: workflow files parse and name what exists, and the version is the same everywhere."""

import re
from pathlib import Path

import pytest
import yaml

from bimcvr import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
YAML_FILES = [*sorted(ROOT.glob(".github/**/*.yml")), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]
FORMS = [path for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_files_parse(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_what_exists(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "jobs", "permissions", "concurrency"} <= content.keys()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
            command = step.get("run", "")
            assert set(re.findall(r"^make ([a-z-]+)", command)) <= targets
            for name in re.findall(r"constraints[\w-]*\.txt|[\w/]+\.sh", command):
                assert (ROOT / name).is_file(), name


def test_ci_runs_every_python_of_the_metadata() -> None:
    metadata = (ROOT / "setup.cfg").read_text()
    listed = set(re.findall(r"Python :: (3\.\d+)", metadata))
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]
    assert {entry["python"] for entry in matrix["include"]} == listed


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_are_complete(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)


def test_the_version_is_the_same_everywhere() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert headings[1].startswith(f"[{__version__}] - ")


def test_the_changelog_uses_the_standard_sections() -> None:
    assert set(re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)) <= SECTIONS


def test_each_third_party_file_has_its_notice_beside_it() -> None:
    table = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    files = re.findall(r"^\| `([^`]+)`", table, flags=re.MULTILINE)
    notices = {ROOT / name for name in re.findall(r"\]\((src/[^)]+)\)", table)}
    assert notices == set(ROOT.glob("src/**/*.licence.txt"))
    for name in files:
        file = ROOT / "src/bimcvr" / name
        assert file.is_file()
        assert file.with_name(f"{file.name.split('.')[0]}.licence.txt") in notices
    niivue = (ROOT / "src/bimcvr/search/server/web/niivue.licence.txt").read_text(encoding="utf-8")
    for part in ("fflate", "gl-matrix", "nifti-reader-js", "zarrita", "numcodecs", "LZ4", "Zstandard", "c-blosc"):
        after = niivue.split(f"part     {part}", 1)[1].split("-" * 80, 1)[0]
        assert "Copyright" in after, part
