"""The short names of a package: all there and documented, and none loaded before it is used."""

import importlib
import subprocess
import sys

import pytest

HEAVY = {
    "bimcvr.curation": {"numpy", "pandas", "scipy", "SimpleITK"},
    "bimcvr.data": {"torch", "pandas", "SimpleITK", "pydicom"},
    "bimcvr.search": {"torch", "pandas", "lancedb", "fastapi"},
}


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in HEAVY for name in importlib.import_module(package).__all__]
)
def test_every_public_name_is_there_and_documented(package: str, name: str) -> None:
    assert getattr(importlib.import_module(package), name).__doc__


@pytest.mark.parametrize(("package", "heavy"), HEAVY.items())
def test_importing_the_package_loads_nothing_heavy(package: str, heavy: set[str]) -> None:
    code = f"import sys, {package}; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
