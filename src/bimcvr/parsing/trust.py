"""Which classes a file that the user did not write may name: naming a class runs its module's code.

A checkpoint holds the class paths of its model's parts, and so does the `config.yaml` beside it. Both may come from
others. What they name is built only if it is of this project or of the libraries below, if the user named it on this
command line, or if he trained with it before from the same source file. Everything else is refused before its module
is imported. The check is jsonargparse's own, which sees each name before and after it is resolved.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import write_json
from bimcvr.errors import UserError

BUILT = (
    "bimcvr.models",
    "bimcvr.data",
    "torch.nn",
    "torch.optim",
    "torchio",
    "monai.losses",
    "monai.networks.blocks",
    "monai.networks.layers",
    "monai.networks.nets",
    "pytorch_lightning.accelerators",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers.CSVLogger",
    "pytorch_lightning.loggers.csv_logs",
    "pytorch_lightning.loggers.TensorBoardLogger",
    "pytorch_lightning.loggers.tensorboard",
    "pytorch_lightning.plugins",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
)
"""What any file may name: packages of parts, and of what else a configuration of `fit` consists of."""

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_DENIED = re.compile(r"Importing '([\w.]+)' is not allowed")
_REMOTE_CODE = "trust_remote_code"


@contextlib.contextmanager
def only_trusted(file: Path, content: Any, trust: Iterable[str] = ()) -> Iterator[None]:
    """Refuse classes that a file names, unless they are known or trusted; in this block jsonargparse builds no other.

    Args:
        file: the checkpoint or configuration.
        content: what it holds.
        trust: classes, modules or packages that the user trusts.

    Raises:
        UserError: the file asks for code of a published model to be run, or the block would build a class that is not
            trusted.
    """
    from jsonargparse import _common as jsonargparse_common
    from jsonargparse import set_parsing_settings

    if _asks_for_remote_code(content):
        raise UserError(
            f"{file} sets {_REMOTE_CODE}, which would run code that a published model brings along. No file may ask for"
            " that: choose a model that needs no code of its own."
        )
    settings = jsonargparse_common.parsing_settings
    before = dict(settings)
    allowed = [*BUILT, *filter(_is_path, _own_classes())]
    allowed += [name for entry in trust for name in _with_definition(entry) if _is_path(name)]
    # the settings can only be added to, and are those of the whole process
    settings["import_path_verdicts"] = {}
    try:
        set_parsing_settings(
            import_path_denylist=["*"], import_path_allowlist=allowed, instantiate_subclass_spec_in_any=False
        )
        yield
    except Exception as error:
        if denied := _DENIED.search(f"{error} {error.__cause__}"):
            raise UserError(_not_trusted(file, denied.group(1))) from error
        raise
    finally:
        settings.clear()
        settings.update(before)


def split_trust(trust: str) -> list[str]:
    """Return the names of the option `--trust`, which have commas between.

    Raises:
        UserError: one is not the name of a class, module or package.
    """
    names = [name.strip() for name in trust.split(",") if name.strip()]
    for name in names:
        if not _is_path(name):
            raise UserError(
                f"--trust {name}: give the name of a class, module or package, like mine.MyEncoder or mine."
            )
    return names


def names_in(words: Sequence[str]) -> list[str]:
    """Return the class paths that options of a command line name: those of the model, the views and the trainer."""
    named, option = list[str](), ""
    for word in words:
        if word.startswith("--"):
            option, _, word = word.partition("=")
        if option.startswith(("--model.", "--trainer.", "--data.view_", "--data.text_sampler")):
            named += _NAME.findall(word)
            if os.path.isfile(word):  # a file of one part's settings
                named += _NAME.findall(Path(word).read_text(encoding="utf-8", errors="replace"))
    return named


def remember_own(content: Any) -> None:
    """Remember the classes of a `fit` on this account, so that its run can be tested and searched without naming them.

    Args:
        content: the configuration, whose classes were imported.
    """
    own = _read_own()
    for name in dict.fromkeys(_names_of(content)):
        source = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
        if source and not any(name == built or name.startswith(f"{built}.") for built in BUILT):
            own.update(dict.fromkeys(_with_definition(name), str(Path(source).resolve())))
    if own != _read_own():
        with contextlib.suppress(OSError):  # then --trust is needed
            write_json(_own_file(), own)


def _not_trusted(file: Path, name: str) -> str:
    return (
        f"{file} names {name}, which is neither a part of this project nor of torch, TorchIO or MONAI. It was not"
        f" imported, since that would run its code. If you trust that code, add --trust {name}, or --trust"
        f" {name.partition('.')[0]} for all of its package."
    )


def _own_classes() -> list[str]:
    """Return the class paths that this account has trained with, whose package is still the same file."""
    return [name for name, source in _read_own().items() if _source_of(name) == source]


def _source_of(name: str) -> str:
    """Return the file of a name's top-level package, without importing it."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return ""
    return str(Path(spec.origin).resolve()) if spec and spec.origin else ""


def _read_own() -> dict[str, str]:
    try:
        content = json.loads(_own_file().read_text(encoding="utf-8"))
        return {str(name): str(source) for name, source in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _own_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(os.path.expanduser(state)) / "bimcvr/own_classes.json"


def _with_definition(name: str) -> list[str]:
    """Return a trusted name, and the one under which its class is defined: a package may hand it on from a module."""
    module, _, attribute = name.rpartition(".")
    try:
        defined = getattr(importlib.import_module(module), attribute) if module else None
    except Exception:  # whatever the user's own module raises: building the class will say it
        return [name]
    if defined is None or not hasattr(defined, "__qualname__"):
        return [name]
    return [name, f"{defined.__module__}.{defined.__qualname__}"]


def _is_path(name: str) -> bool:
    """Return whether a name can be allowed: jsonargparse allows no class of a function, and never itself."""
    parts = name.split(".")
    return all(part.isidentifier() for part in parts) and parts[0] != "jsonargparse"


def _names_of(content: Any) -> Iterator[str]:
    for value in _values(content):
        if isinstance(value, str) and _NAME.fullmatch(value):
            yield value


def _values(content: Any) -> Iterator[Any]:
    """Yield everything in nested mappings and sequences but their keys."""
    if isinstance(content, dict):
        for value in content.values():
            yield from _values(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _values(value)
    else:
        yield content


def _asks_for_remote_code(content: Any) -> bool:
    if isinstance(content, dict):
        return any(
            (key == _REMOTE_CODE and value not in (False, None)) or _asks_for_remote_code(value)
            for key, value in content.items()
        )
    return isinstance(content, list | tuple) and any(map(_asks_for_remote_code, content))
