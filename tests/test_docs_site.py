"""The documentation as a site: it builds strictly, its links lead somewhere, and it names only code that exists."""

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch

from bimcvr.cli import LIGHTNING, VERBS, main

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/bimcvr"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# a reader asks no other host for these
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The ids, links and loaded files of a built page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADED and LOADED[tag] in values and values.get("rel") != "canonical":
            self.loaded.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'bimcvr[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stderr
    return {path: Page(path) for path in sorted(folder.rglob("*.html"))}


def target(page: Path, link: str) -> tuple[Path, str] | None:
    """The file and the anchor that a link of a page leads to; None for another host."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page, unquote(parts.fragment)


def test_every_link_and_anchor_exists(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        if path.name == "404.html":
            continue
        for link in [*page.links, *page.loaded]:
            found = target(path, link)
            if found is not None:
                file, anchor = found
                assert file.is_file() or (file / "index.html").is_file(), f"{path.name} links to {link}"
                if anchor and file in site:
                    assert anchor in site[file].ids, f"{path.name} links to {link}: no such anchor"


def test_every_page_is_two_clicks_from_the_index(site: dict[Path, Page]) -> None:
    index = next(path for path in site if path.name == "index.html")
    seen = reached = {index}
    for _ in range(2):
        found = {target(page, link) for page in reached for link in site[page].links}
        reached = {entry[0] for entry in found if entry is not None and entry[0] in site} - seen
        seen = seen | reached
    assert {path.name for path in set(site) - seen} == {"404.html"}


def test_every_api_page_lists_names(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        if path.parent.name == "api":
            module = "bimcvr" if path.stem == "bimcvr" else f"bimcvr.{path.stem}"
            assert any(name.startswith(f"{module}.") for name in page.ids), path.name


def test_no_page_loads_anything_from_another_host(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        assert not [link for link in page.loaded if urlsplit(link).netloc], path.name
    for style in next(iter(site)).parent.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style.name


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("validate", "test", "predict")])
def test_the_reference_lists_the_options_of_the_parser(
    verb: str, site: dict[Path, Page], capsys: pytest.CaptureFixture[str]
) -> None:
    text = next(path for path in site if path.name == "commands.html").read_text(encoding="utf-8")
    section = re.split("<h[23] ", text.split(f'<h3 id="{verb}"', 1)[1])[0]
    listed = set(re.findall(r"<td><code>(--[\w.]+)</code></td>", section))
    with pytest.raises(SystemExit):
        main([verb, "--help-all" if verb in LIGHTNING else "--help"])
    options = set(re.findall(r"^ +(?:-\w, )?(--[\w.]+)", capsys.readouterr().out, flags=re.MULTILINE))
    # groups as a whole, how a parser explains itself, and what is Lightning's own
    options = {name for name in options if not name.endswith(".help")} - {"--help", "--config", "--print_config"}
    if verb in ("fit", "dry-run"):
        options -= {"--model", "--data", "--trainer", "--weights_only"}
    options = {name for name in options if not name.startswith(("--trainer.", "--checkpoint.", "--model.optimizer."))}
    if verb == "dry-run":
        assert listed <= options
    else:
        assert listed - {"--config", "--print_config"} == options


def resolves(name: str) -> bool:
    """Tell whether a dotted name is a module or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_only_code_that_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"\bbimcvr(?!\.md\b)(?:\.[A-Za-z_]\w*)+", text))):
        assert resolves(name), f"{page.name} names {name}"
    for name in sorted(set(re.findall(r"`((?:[\w-]+/)+[\w.-]*\.(?:py|pyi|yaml|html|csv|txt))`", text))):
        # paths are those of the repository; shorter ones those of the package
        here = any((folder / name).exists() for folder in (ROOT, SOURCE, SOURCE / "experiments"))
        assert here or not (SOURCE / name.split("/")[0]).is_dir(), f"{page.name} names {name}"
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))))
    yaml = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.yaml"))
    for name in sorted(set(re.findall(r"`([A-Z][a-z]+(?:[A-Z0-9]\w*)+)(?:\(\))?`", text))):
        assert name in words or name in yaml or name in text.split("```python")[-1], f"{page.name} names {name}"


def definitions(path: Path) -> set[str]:
    """The functions, classes, methods and constants of a file."""

    def names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + node.name
                yield from names(node.body, "" if isinstance(node, ast.FunctionDef) else f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (prefix + ast.unparse(one) for one in targets)

    return set(names(ast.parse(path.read_text(encoding="utf-8")).body))


def test_where_is_what_names_functions_that_exist() -> None:
    """Each row of the table: a file of the package, and names that it defines."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## Where is what")[1]
    rows = re.findall(r"^\|.*`src/bimcvr/.*$", text, flags=re.MULTILINE)
    assert len(rows) >= 20
    for row in rows:
        file, *names = re.findall(r"`([^`/]+|src/[^`]+)`", row[row.index("`src/") :])
        assert (ROOT / file).exists(), row
        if file.endswith(".py"):
            assert {name for name in names if "/" not in name} <= definitions(ROOT / file), row


def example(page: str) -> dict[str, Any]:
    """Run the first Python block of a how-to page, and return what it defines."""
    text = (ROOT / "docs/howto" / page).read_text(encoding="utf-8")
    block = re.search(r"( *)```python\n(.*?)```", text, flags=re.DOTALL)
    assert block
    names: dict[str, Any] = {}
    exec(textwrap.dedent(block[2]), names)  # noqa: S102 - our own page
    return names


def test_the_example_of_a_model_meets_the_contract() -> None:
    features = example("model.md")["Pooled"](dim=8)(torch.zeros(2, 1, 8, 16, 16))
    assert features.cls.shape == (2, 8)
    assert features.tokens.shape == (2, 1, 8)


def test_the_example_of_a_source_reads_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/report.txt").write_text("No nodule.\n")
    (tmp_path / "b").mkdir()
    source = example("source.md")["OneFolderAStudy"](str(tmp_path))
    study, skipped = [item for shard in source.shards() for item in source.studies([shard])]
    assert (study.study_id, study.report, study.volume) == ("a", "No nodule.", tmp_path / "a/ct.nii.gz")
    assert (skipped.name, skipped.reason) == ("b", "no_report")


def test_the_example_of_a_check_yields_a_flag() -> None:
    check = example("check.md")["too_many_slices"]
    assert list(check(SimpleNamespace(size=(2001, 512, 512)))) == [
        ("too_many_slices", "2001 slices; the most accepted are 2000")
    ]
    assert not list(check(SimpleNamespace(size=(300, 512, 512))))


def test_the_example_of_a_verb_counts_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert example("verb.md")["count"](ROOT / "data_manifests/example.csv") == 0
    assert int(capsys.readouterr().out) > 0
