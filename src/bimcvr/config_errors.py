"""Turning a parser's long complaint about a configuration into one paragraph."""

import difflib
import re
import sys
from pathlib import Path
from typing import Any

import yaml


def explain(message: str, parser: Any) -> str:
    """Name the culprit, the nearest key that exists, and the file that holds it.

    Args:
        message: jsonargparse's error.
        parser: the parser that raised it; its options are the keys that exist.
    """
    reason = _core(message)
    key = _unknown_key(reason)
    if not key:
        return f"Wrong configuration: {reason}"
    known = sorted({action.dest for action in parser._actions} | _parameters_near(reason))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or difflib.get_close_matches(
        key.rsplit(".", 1)[-1], [name.rsplit(".", 1)[-1] for name in known], n=1, cutoff=0.6)
    hint = f" Did you mean '{near[0]}'?" if near else " `python -m bimcvr fit --print_config` lists every key."
    return f"Wrong configuration{_where(key)}: there is no key '{key}'.{hint}"


def _core(message: str) -> str:
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"not accepted|does not accept|Expected|Unable to import|No such file", line)]
    return " ".join(telling[-2:] or lines)[:600]


def _unknown_key(reason: str) -> str | None:
    found = re.search(r"(?:accept option|Option|Unrecognized arguments?:?|Key) '?-{0,2}([\w.+]+)'?", reason)
    return found.group(1) if found and re.search(r"accept", reason) else None


def _parameters_near(reason: str) -> set[str]:
    return set()


def _where(key: str) -> str:
    for path in _config_files():
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        if _holds(content, key.split(".")):
            return f" in {path}"
    return ""


def _config_files() -> list[Path]:
    words = sys.argv[1:]
    following = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-c", "--config")]
    joined = [word.split("=", 1)[1] for word in words if word.startswith("--config=")]
    return [Path(name) for name in following + joined]


def _holds(content: Any, parts: list[str]) -> bool:
    if not parts:
        return True
    return isinstance(content, dict) and parts[0] in content and _holds(content[parts[0]], parts[1:])
