"""Turning a parser's long complaint about a configuration into one paragraph."""

import difflib
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml


def explain(message: str, known: Collection[str]) -> str:
    """Name the culprit, the nearest key that exists, and the file that holds it.

    Args:
        message: jsonargparse's error.
        known: the keys that exist, dotted.

    >>> explain("unrecognized arguments: --model.embed_dims 3", ["model.embed_dim", "model.warmup"])
    "Wrong configuration: there is no key 'model.embed_dims'. Did you mean 'model.embed_dim'?"
    """
    key = _unknown_key(message)
    if key:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f" Did you mean '{near[0]}'?" if near else " `python -m bimcvr fit --print_config` lists every key."
        return f"Wrong configuration{_where(key)}: there is no key '{key}'.{_place(message, key)}{hint}"
    found = re.search(r'key "([\w.]+)"', message)
    if not found:
        return f"Wrong configuration: {_shorten(message)}"
    return f"Wrong configuration{_where(found.group(1))}: '{found.group(1)}' cannot be used. {_reason(message)}"


def _unknown_key(message: str) -> str | None:
    patterns = (r"unrecognized arguments: -+([\w.+]+)", r"does not accept option '([\w.]+)'", r"Option '([\w.]+)' is not accepted",
                r"Group '[\w.]+' does not accept nested key '([\w.]+)'", r"No action for key \"([\w.]+)\"")
    return next((found.group(1) for pattern in patterns if (found := re.search(pattern, message))), None)


def _place(message: str, key: str) -> str:
    """Say in which class a key of `init_args` is missing."""
    found = re.search(r"Problem with given class_path '([\w.]+)'", message)
    return f" (It stands in the init_args of {found.group(1)}.)" if found and "." not in key else ""


def _reason(message: str) -> str:
    value = re.search(r"Given value: (.*)", message)
    wanted = re.search(r"Subtypes: \[(.*)\]", message)
    problem = re.search(r"Problem with given class_path '[^']*':\s*(.*)", message)
    if problem and problem.group(1):
        return f"{_shorten(problem.group(0))}. Check the class_path: module and class must exist and be importable from here."
    if value and wanted:
        kinds = re.sub(r"<class '([\w.]+)'>|typing\.", r"\1", wanted.group(1)).replace("NoneType", "null")
        return f"Its value is {value.group(1)[:80]}; expected one of {kinds}."
    return _shorten(message.split(":", 1)[-1])


def _shorten(text: str) -> str:
    return " ".join(text.split())[:500]


def _where(key: str) -> str:
    for path in _config_files():
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        if _holds(content, key):
            return f" in {path}"
    return ""


def _config_files() -> list[Path]:
    """Return the configuration files of the command line, the last, which decides, first."""
    words = sys.argv[1:]
    following = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-c", "--config")]
    joined = [word.split("=", 1)[1] for word in words if word.startswith("--config=")]
    return [Path(name) for name in [*following, *joined]][::-1]


def _holds(content: Any, key: str) -> bool:
    """Whether a dotted key stands in a nested mapping, at its place or, if it has no dot, anywhere."""
    if not isinstance(content, dict):
        return isinstance(content, list) and "." not in key and any(_holds(item, key) for item in content)
    first, _, rest = key.partition(".")
    if first in content and (not rest or _holds(content[first], rest)):
        return True
    return "." not in key and any(_holds(value, key) for value in content.values())
