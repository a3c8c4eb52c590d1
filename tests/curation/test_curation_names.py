"""The names of bimcvr.curation: all there and documented, and none loaded before it is used."""

import subprocess
import sys

import pytest

import bimcvr.curation


@pytest.mark.parametrize("name", bimcvr.curation.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(bimcvr.curation, name).__doc__


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, bimcvr.curation; print(sorted({'numpy', 'pandas', 'scipy', 'SimpleITK'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
