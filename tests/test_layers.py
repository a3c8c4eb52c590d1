"""Imports go downwards only: what each package and sub-package may use of the others."""

import ast
from pathlib import Path
from statistics import median

import pytest

SOURCE = Path(__file__).parents[1] / "src/bimcvr"
# modules at the root that every layer may use
SHARED = {
    "errors",
    "extras",
    "atomic_files",
    "decompression_bombs",
    "contracts",
    "hub",
    "parallel",
    "processes",
    "html",
    "provenance",
    "presets",
    "run_folder",
    "serving",
    "suggest",
    "__version__",
}
# a name stands for the modules directly in that folder; `models.*` for every sub-package
ALLOWED = {
    "parsing": set(),
    "data.hu": set(),
    "data.reading": {"data.hu"},
    "data.text": set(),
    "data.counterfactual": {"data.text"},
    "data": {"data.counterfactual", "data.reading", "data.text"},
    "data.cache": {"data", "data.hu", "data.reading"},
    "data.loading": {"data", "data.cache", "data.hu", "data.reading", "data.text"},
    "metrics.ranking": set(),
    "metrics": {"metrics.ranking"},
    "evaluation": {"metrics", "metrics.*", "data", "data.hu", "data.reading"},
    "evaluation.judged": {"evaluation", "metrics", "data"},
    "phantom.reports": set(),
    "phantom.image": {"phantom.reports"},
    "phantom": {"phantom.reports", "data", "metrics", "metrics.*"},
    "phantom.cohort": {"phantom.reports", "phantom.image", "data"},
    "phantom.archive": {"phantom.reports", "phantom.image", "phantom.cohort"},
    "models.pretrained": set(),
    "models.losses": {"metrics", "metrics.*"},
    "models.text": {"models.pretrained", "data.text"},
    "models.volume": {"models.pretrained", "metrics", "metrics.*"},
    "models.localisation": {"data", "data.hu", "data.reading", "metrics", "metrics.*"},
    "models.peers": {"models.pretrained", "models.text"},
    "models": {
        "models.localisation",
        "models.pretrained",
        "models.losses",
        "models.text",
        "models.volume",
        "metrics",
        "metrics.*",
        "evaluation",
        "data.*",
        "parsing",
    },
    "models.profiling": {"models", "models.pretrained", "models.losses", "models.text", "models.volume"},
    "curation": {"data.text"},
    "curation.text": {"data.text"},
    "curation.archives": {"curation", "data.reading"},
    "curation.sources": {"curation", "curation.archives", "data", "data.reading"},
    "curation.sources.bimcv": {"curation", "curation.archives", "curation.sources", "data", "data.reading"},
    "curation.anonymise": {"curation.text", "data.text"},
    "curation.labels": {"curation.text", "data"},
    "curation.translation": {"curation.anonymise", "curation.text", "data.text"},
    "curation.audit": {"curation.text", "data", "data.*", "metrics", "metrics.*"},
    "curation.audit.output": {
        "curation.audit",
        "curation.text",
        "data",
        "data.*",
        "metrics",
        "metrics.*",
        "evaluation",
    },
    "curation.review": {"curation", "data"},
    "curation.review.page": {
        "curation.review",
        "curation.audit",
        "curation.audit.output",
        "curation.labels",
        "curation.translation",
        "data",
        "data.reading",
    },
    "curation.statistics": {"curation.audit", "curation.review", "curation.text", "data", "data.*"},
    "curation.pipeline": {
        "curation",
        "curation.anonymise",
        "curation.archives",
        "curation.audit",
        "curation.labels",
        "curation.review",
        "curation.sources",
        "curation.translation",
        "data",
        "data.*",
    },
    "search.index": {"data", "data.*", "metrics", "metrics.*"},
    "search.asked": {"search.index", "curation.labels", "curation.text", "data.text"},
    "search.uploading": {"data.reading"},
    "search.query": {
        "search.asked",
        "search.index",
        "curation.audit",
        "curation.labels",
        "curation.text",
        "models",
        "models.*",
        "data",
        "data.*",
        "metrics",
        "metrics.*",
    },
    "search.ingest": {
        "search.asked",
        "search.query",
        "search.index",
        "curation.labels",
        "models",
        "data",
        "data.*",
        "metrics",
        "metrics.*",
        "evaluation",
    },
    "search.output": {"search.query", "search.index", "models.localisation", "data"},
    "search.server": {
        "search.asked",
        "search.query",
        "search.index",
        "search.uploading",
        "models",
        "models.localisation",
        "data",
        "data.*",
    },
    "training": {
        "training.output",
        "parsing",
        "models",
        "models.*",
        "data",
        "data.*",
        "metrics",
        "metrics.*",
        "curation.labels",
        "evaluation",
        "phantom",
    },
    "training.output": {"data", "data.*", "evaluation", "metrics", "metrics.*", "models"},
    "sweeps": set(),
    "doctor": {"data", "data.*", "models", "models.*", "search.index"},
    "suites.tables": set(),
    "suites": {
        "suites.tables",
        "training",
        "evaluation",
        "curation.labels",
        "curation.statistics",
        "metrics",
        "metrics.*",
        "data",
        "data.*",
        "phantom",
    },
}
PACKAGES = {".".join(path.parent.relative_to(SOURCE).parts) for path in SOURCE.rglob("__init__.py")} - {""}
# they only hand names on: bimcvr.models.ResNet3D
FRONT_DOORS = {"search"}


def package_of(module: str) -> str:
    """The package that a dotted name below `bimcvr` lies in, or the root's module."""
    parts = module.split(".")
    while parts and ".".join(parts) not in PACKAGES:
        parts.pop()
    return ".".join(parts) or module.split(".")[0]


def imported(path: Path) -> set[str]:
    """The packages below `bimcvr`, and the root's modules, that a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {package_of(name.removeprefix("bimcvr.")) for name in names if name.startswith("bimcvr.")}


def allowed(package: str) -> set[str]:
    """What a package may import, itself and the shared modules included."""
    names = ALLOWED[package]
    wide = {own for name in names if name.endswith(".*") for own in PACKAGES if own.startswith(name[:-1])}
    return names | wide | SHARED | {package}


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_lies_below(package: str) -> None:
    for path in (SOURCE / package.replace(".", "/")).glob("*.py"):
        above = imported(path) - allowed(package)
        assert not above, f"{path.relative_to(SOURCE)} imports {', '.join(sorted(above))}"


def test_the_table_names_every_package() -> None:
    assert set(ALLOWED) | FRONT_DOORS | {"commands", "html", "processes", "serving"} == {
        name for name in PACKAGES if not name.startswith("commands.")
    }


def test_no_packages_import_each_other() -> None:
    """The table itself has no cycle, between a package and its sub-package either."""
    left = {
        package: {name for name in PACKAGES if name in allowed(package)} - {package, "html", "processes", "serving"}
        for package in ALLOWED
    }
    while left:
        free = [package for package, below in left.items() if not below & left.keys()]
        assert free, f"a cycle among {sorted(left)}"
        for package in free:
            del left[package]


def test_nothing_imports_a_command() -> None:
    for path in SOURCE.rglob("*.py"):
        if "commands" not in path.relative_to(SOURCE).parts:
            assert not [name for name in imported(path) if name.startswith("commands")], path.relative_to(SOURCE)


def test_only_commands_print() -> None:
    """Below the commands, nothing writes to the terminal but progress."""
    for path in SOURCE.rglob("*.py"):
        if "commands" in path.relative_to(SOURCE).parts or path.name in {"cli.py", "__main__.py"}:
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        lines = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert not lines, f"{path.relative_to(SOURCE)} prints in line {lines}"


def test_files_and_folders_stay_small() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert not {name: count for name, count in lengths.items() if count > 400}
    assert median(lengths.values()) <= 110
    folders = [SOURCE, *(path for path in SOURCE.rglob("*") if path.is_dir())]
    assert not {folder.name: count for folder in folders if (count := len(list(folder.glob("*.py")))) > 15}
