import subprocess
import sys

import pytest

import bimcvr.data


@pytest.mark.parametrize("name", bimcvr.data.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(bimcvr.data, name).__doc__


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, bimcvr.data; print(sorted({'torch', 'pandas', 'SimpleITK', 'pydicom'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
