"""A trial's command line, expanded from a sweep's `command` as W&B's agent does it.

https://docs.wandb.ai/models/sweeps/define-sweep-configuration#sweep-command-example; the agent's own code is not
public, so a test compares both.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bimcvr.errors import UserError

_ENVVAR = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_MACRO = re.compile(r"\$\{(.*)\}")


def expand(command: Sequence[str], program: str, values: Mapping[str, Any], interpreter: str = "python") -> list[str]:
    """Fill in a command's macros.

    Args:
        command: the words of the sweep's file.
        program: what `${program}` stands for.
        values: the trial's parameters.
        interpreter: what `${interpreter}` stands for; W&B's agent takes `python`.

    Raises:
        UserError: a macro is unknown here, or an environment variable is not set. (W&B drops the one without a word,
            and writes the name of the other in its place.)
    """
    macros = {
        "env": ["/usr/bin/env"],
        "interpreter": [interpreter],
        "program": [program],
        "args": [f"--{name}={value}" for name, value in values.items()],
        "args_no_hyphens": [f"{name}={value}" for name, value in values.items()],
        "args_no_boolean_flags": [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in values.items()
            if value is not False
        ],
    }
    words: list[str] = []
    for word in command:
        filled = _ENVVAR.sub(_variable, word)
        macro = _MACRO.fullmatch(filled)
        if macro is None:
            words.append(filled)
        elif macro.group(1) in macros:
            words += macros[macro.group(1)]
        else:
            raise UserError(
                f"The command has the macro {filled}, which is not known here; known are "
                f"{', '.join('${' + name + '}' for name in macros)} and ${{envvar:NAME}}."
            )
    return words


def _variable(found: re.Match[str]) -> str:
    value = os.environ.get(found.group(1))
    if value is None:
        raise UserError(
            f"The command names the environment variable {found.group(1)}, which is not set: `export"
            f" {found.group(1)}=…`."
        )
    return value
