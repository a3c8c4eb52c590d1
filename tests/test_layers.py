"""Imports go downwards only: what each folder may use of the others."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/bimcvr"
# what every layer may use: errors, of configurations too, files, the contracts between layers, the hub's loader, pages, provenance
SHARED = {"errors", "config_errors", "files", "contracts", "hub", "pages", "provenance"}
ALLOWED = {
    "metrics": set(), "data": set(), "phantom": {"data", "metrics"}, "curation": {"data", "metrics"}, "models": {"metrics", "data"},
    "evaluation": {"metrics", "data", "phantom"}, "search": {"metrics", "data", "models", "curation", "runs"},
    "sweeps": set(), "doctor": {"data", "models", "search"},
    # the highest: its runs are those of `fit` and `test`
    "benchmark": {"metrics", "data", "phantom", "curation", "models", "evaluation", "training"},
}


def imported(path: Path) -> set[str]:
    """The first name below `bimcvr` of every import in a file, wherever it stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names |= {name.split(".")[1] for name in found if name.startswith("bimcvr.")}
    return names


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_only_what_lies_below(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        above = imported(path) - SHARED - ALLOWED[layer] - {layer}
        assert not above, f"{path.relative_to(SOURCE)} imports {', '.join(sorted(above))}"


def test_the_table_names_every_folder() -> None:
    assert set(ALLOWED) == {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def test_files_stay_small() -> None:
    long = {str(path.relative_to(SOURCE)): count for path in SOURCE.rglob("*.py")
            if (count := len(path.read_text().splitlines())) > 400}
    assert not long
