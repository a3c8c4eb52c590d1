"""Turns a parser's error about a configuration into one paragraph: file or flag, key, remedy."""

import importlib
import inspect
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bimcvr.errors import UserError
from bimcvr.presets import read_yaml
from bimcvr.suggest import did_you_mean

FIT_KEYS = "`python -m bimcvr fit --print_config` lists every key."


def explain(message: str, known: Collection[str], words: Sequence[str] = (), listing: str = FIT_KEYS) -> str:
    """Name the wrong key, the nearest key that exists, and the file or flag that holds it.

    Args:
        message: jsonargparse's error.
        known: the keys that exist, dotted.
        words: the command line.
        listing: where to find the keys that exist, for a key that is like none of them.

    >>> explain("unrecognized arguments: --model.embed_dims 3", ["model.embed_dim", "model.warmup"])
    "Wrong configuration: there is no key 'model.embed_dims'. Did you mean 'model.embed_dim'?"
    """
    key = _unknown_key(message)
    if key and re.fullmatch(r"checkpoint\.\w+", key):  # a setting of Lightning's ModelCheckpoint
        return (
            f"{key} cannot be set: a run always keeps checkpoints/best.ckpt, chosen by checkpoint.monitor and"
            " checkpoint.mode, and last.ckpt, the last epoch's end. Leave it out."
        )
    if key:
        owner = _owner(message, key)
        candidates = _parameters(owner) if owner else known
        hint = did_you_mean(key, candidates, 0.6) or (
            f" There are {', '.join(candidates)}." if owner and candidates else f" {listing}"
        )
        location = f" (It is in the init_args of {owner}.)" if owner else ""
        return f"Wrong configuration{_where(message, key, words)}: there is no key '{key}'.{location}{hint}"
    match = re.search(r'key "([\w.]+)"', message)
    if match:
        return (
            f"Wrong configuration{_where(message, match.group(1), words)}: '{match.group(1)}' cannot be used."
            f" {_reason(message)}"
        )
    for path in config_files(words):
        try:
            read_config(path)
        except UserError as error:
            return str(error)
    return f"Wrong configuration: {_shorten(message)}"


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        UserError: the file is absent, not YAML or not a mapping.
    """
    try:
        content = read_yaml(path)
    except UserError as error:
        raise UserError(f"The configuration {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"The configuration {path} is {'empty' if content is None else 'no mapping'}: it needs keys such as"
            " `data:`."
        )
    return content


def value_of(flag: str, words: Sequence[str]) -> str | None:
    """Return a flag's value on a command line, given as `--flag value` or `--flag=value`; None without it."""
    for position, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return word.split("=", 1)[1]
        if word == flag and position + 1 < len(words):
            return words[position + 1]
    return None


def _unknown_key(message: str) -> str | None:
    patterns = (
        r"unrecognized arguments: -+([\w.+]+)",
        r"does not accept option '([\w.]+)'",
        r"Option '([\w.]+)' is not accepted",
        r"Group '[\w.]+' does not accept nested key '([\w.]+)'",
        r"No action for key \"([\w.]+)\"",
    )
    return next((match.group(1) for pattern in patterns if (match := re.search(pattern, message))), None)


def _owner(message: str, key: str) -> str | None:
    """Return the class whose `init_args` hold an unknown key."""
    owners = re.findall(r"Problem with given class_path '([\w.]+)'", message.partition(f"'{key}'")[0])
    return owners[-1] if owners and "." not in key else None


def _parameters(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def _reason(message: str) -> str:
    value = re.search(r"Given value: (.*)", message)
    wanted = re.search(r"Subtypes: \[(.*)\]", message)
    problem = re.search(r"Problem with given class_path '[^']*':\s*(.*)", message)
    if problem and problem.group(1):
        return (
            f"{_shorten(problem.group(0))}. Check the class_path: module and class must exist and be importable from"
            " here."
        )
    if value and wanted:
        kinds = re.sub(r"<class '([\w.]+)'>|typing\.", r"\1", wanted.group(1)).replace("NoneType", "null")
        return f"Its value is {value.group(1)[:80]}; expected one of {kinds}."
    return _shorten(message.split(":", 1)[-1])


def _shorten(text: str) -> str:
    return " ".join(text.split())[:500]


def _where(message: str, key: str, words: Sequence[str]) -> str:
    """Name the flag that gave a key, or the file that holds it."""
    flags = [word.split("=", 1)[0] for word in words if word.startswith("--")]
    flag = next((flag for flag in flags if flag == f"--{key}" or ("." not in key and flag.endswith(f".{key}"))), None)
    file = next((path for path in config_files(words) if _holds(_content(path), key)), None)
    # a value that the message does not show is not the one it complains about
    if flag and (file is None or (value_of(flag, words) or "") in message):
        return f" (given as {flag})"
    return f" in {file}" if file else ""


def _content(path: Path) -> Any:
    try:
        return read_config(path)
    except UserError:
        return None


def config_files(words: Sequence[str]) -> list[Path]:
    """Return the configuration files of a command line, the last, which decides, first."""
    following = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-c", "--config")]
    joined = [word.split("=", 1)[1] for word in words if word.startswith("--config=")]
    return [Path(name) for name in [*following, *joined]][::-1]


def _holds(content: Any, key: str) -> bool:
    """Return whether a nested mapping has a dotted key, or a key without a dot at any depth."""
    if not isinstance(content, dict):
        return isinstance(content, list) and "." not in key and any(_holds(item, key) for item in content)
    first, _, rest = key.partition(".")
    if first in content and (not rest or _holds(content[first], rest)):
        return True
    return "." not in key and any(_holds(value, key) for value in content.values())
