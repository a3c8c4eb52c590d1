"""How a result was made: the commit, the versions of packages, the memory used."""

import importlib.metadata
import platform
import resource
import subprocess
from pathlib import Path

PACKAGES = (
    "bimcvr",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "torchio",
    "monai",
    "transformers",
    "open_clip_torch",
    "SimpleITK",
    "pydicom",
    "numpy",
)


def git_commit() -> str:
    """Return the commit of the running code, with `+changes` if files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures depend on."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = "absent"
    return installed


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if platform.system() == "Linux" else 1024**2), 1)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
