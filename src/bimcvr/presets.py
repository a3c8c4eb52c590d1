"""YAML files: how one is read, and those that ship with the package, like `experiments/phantom/quick.yaml`."""

import re
from pathlib import Path
from typing import Any

from bimcvr.errors import UserError, system_problem

FOLDER = Path(__file__).parent / "experiments"
_MOST_NODES = 100_000
_DEEPEST = 50
_NAME = re.compile(r"(?<![\w./-])experiments/[\w./-]+\.yaml")


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        UserError: it cannot be read, is not UTF-8 or no YAML, has a value such as the date 2024-02-31, has a key
            twice in one block, or is nested too deeply.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        repeated = _repeated_key(yaml.compose(text, Loader=yaml.SafeLoader))
        too_large = _is_too_large(content)
    except OSError as error:
        raise UserError(system_problem(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: it is not UTF-8. Save it again as UTF-8.") from error
    except RecursionError as error:
        raise UserError(f"{path} cannot be read: it is nested too deeply.") from error
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())[:500]
        raise UserError(f"{path} cannot be read as YAML: {reason}.") from error
    if repeated:
        raise UserError(
            f"{path} has the key '{repeated[0]}' twice in one block, the second time in line {repeated[1]}: only the"
            " last would count. Join the two."
        )
    if too_large:
        raise UserError(
            f"{path} is no configuration: its anchors and aliases (& and *) stand for more than {_MOST_NODES:,} values,"
            f" or it is nested deeper than {_DEEPEST} levels."
        )
    return content


def _repeated_key(root: Any) -> tuple[str, int] | None:
    """Return a key that a mapping has twice, and the line of its second place; None where there is none."""
    left, known = [root], set[int]()
    while left:
        node = left.pop()
        if id(node) in known or not isinstance(getattr(node, "value", None), list):
            continue
        known.add(id(node))  # an alias is the node that it stands for
        keys = set[str]()
        for item in node.value:
            left += item if isinstance(item, tuple) else [item]
            name = item[0].value if isinstance(item, tuple) and isinstance(item[0].value, str) else None
            if name in keys:
                return str(name), item[0].start_mark.line + 1
            if name is not None:
                keys.add(name)
    return None


def _is_too_large(content: Any) -> bool:
    """Return whether a content that was read is endless or far larger than its file, as aliases can make it."""
    left, nodes = [(content, 0)], 0
    while left:
        value, depth = left.pop()
        nodes += 1
        if nodes > _MOST_NODES or depth > _DEEPEST:
            return True
        if isinstance(value, dict):
            left += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            left += [(item, depth + 1) for item in value]
    return False


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
