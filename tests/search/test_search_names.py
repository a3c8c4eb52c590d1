"""`bimcvr.search` has short names for what a notebook needs, and loads nothing before it is used."""

import subprocess
import sys

import pytest

import bimcvr.search


@pytest.mark.parametrize("name", bimcvr.search.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(bimcvr.search, name).__doc__


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, bimcvr.search; print(sorted({'torch', 'pandas', 'lancedb', 'fastapi'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
