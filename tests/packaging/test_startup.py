"""What starts in an instant loads nothing heavy; measured in modules, since seconds depend on the machine."""

import subprocess
import sys

import pytest

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
