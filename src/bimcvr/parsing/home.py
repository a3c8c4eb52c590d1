"""Paths that begin with `~`: the home folder, as in a shell, which does not see what follows `=` or lies in a file."""

import re
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

_AT_HOME = re.compile(r"~[\w.-]*(/|$)")


def expand_home(value: Any) -> Any:
    """Return settings with every path at `~` or `~user` expanded; what is nested is searched too.

    Args:
        value: a setting; a namespace is changed in place.
    """
    if isinstance(value, Namespace):
        for name, item in vars(value).items():
            vars(value)[name] = expand_home(item)
    if isinstance(value, dict):
        return {name: expand_home(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(expand_home, value))
    if isinstance(value, (str, Path)) and _AT_HOME.match(str(value)):
        return type(value)(Path(value).expanduser())
    return value
