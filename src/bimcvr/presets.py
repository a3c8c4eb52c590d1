"""The YAML files that ship with the package: `experiments/phantom/quick.yaml` and the like, found from any folder."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "experiments"
_NAME = re.compile(r"(?<![\w./-])experiments/[\w./-]+\.yaml")


def resolve_presets(words: list[str]) -> list[str]:
    """Replace preset names in a command line by the shipped files.

    A file of that name below the working folder comes first, so that a copy can be edited.

    Args:
        words: the command line.

    Returns:
        The same words, where `experiments/….yaml` that exists only in the package is replaced by its full path.

    Example:
        >>> words = resolve_presets(["--config=experiments/phantom/base.yaml"])
        >>> words[0].endswith("/bimcvr/experiments/phantom/base.yaml")
        True
    """
    return [_NAME.sub(lambda name: str(preset(name[0])), word) for word in words]


def preset(name: str | Path) -> Path:
    """Return the file of that name in the working folder if it exists, else the shipped one, else the name itself."""
    shipped = FOLDER.parent / name
    return shipped if not Path(name).is_file() and not Path(name).is_absolute() and shipped.is_file() else Path(name)
