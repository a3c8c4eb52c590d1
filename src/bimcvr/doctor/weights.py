"""Whether published models that a configuration names are on this machine.

Each is built as `fit` does, without the network.
"""

import contextlib
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from bimcvr.doctor.check_result import CheckResult, State
from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.extras import MissingExtra
from bimcvr.presets import read_yaml

_HOLDERS = ("model", "weights")
_MINILM = "bimcvr.models.MiniLM"
# parts that need published weights also where they name none
_PUBLISHED = (
    _MINILM,
    *(
        f"bimcvr.models.{peer}{tower}"
        for peer in ("Colipri", "Spectre", "Merlin", "CtClip")
        for tower in ("Volume", "Text")
    ),
)
_DECIDE = ("model", "pretrained", "weights", "depth", "width", "random_weights")


def check_weights(configs: Sequence[Path], experiments: Path) -> Iterator[CheckResult]:
    """Look for every published model that is named.

    Args:
        configs: what the user is about to run: an absent model is failing.
        experiments: folder of experiments that is looked through where no config is given: an absent model is a
            warning.
    """
    files = list(configs) or sorted(experiments.glob("*/*.yaml"))
    named: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for path in files:
        try:
            content = read_yaml(path)
        except UserError as error:
            yield CheckResult("failing", str(path), str(error), "Give a YAML file as for fit.")
            continue
        for part in _parts(content):
            key = json.dumps([part["class_path"], {name: part["init_args"].get(name) for name in _DECIDE}], default=str)
            named.setdefault(key, (part, []))[1].append(str(path))
    if not named:
        named[""] = ({"class_path": _MINILM, "init_args": {}}, ["experiments/phantom"])
    for part, where in named.values():
        yield _check(part, where, "failing" if configs else "warning")


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    """Find the parts of models that need published weights, wherever they stand in a configuration."""
    if isinstance(content, str) and content in _PUBLISHED:
        yield {"class_path": content, "init_args": {}}
    elif isinstance(content, dict):
        path, arguments = content.get("class_path"), content.get("init_args") or {}
        holds = isinstance(arguments, dict) and any(isinstance(arguments.get(name), str) for name in _HOLDERS)
        if isinstance(path, str) and path.startswith("bimcvr.models.") and (holds or path in _PUBLISHED):
            yield {"class_path": path, "init_args": arguments}
            return
        for value in content.values():
            yield from _parts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _parts(value)


def _check(part: dict[str, Any], where: list[str], absent: State) -> CheckResult:
    module, name = part["class_path"].rsplit(".", 1)
    arguments = part["init_args"]
    what = (
        "weights:"
        f" {' '.join(str(arguments[key]) for key in ('model', 'pretrained', 'weights') if arguments.get(key)) or name}"
    )
    users = ", ".join(sorted(where)[:3]) + (f" and {len(where) - 3} more" if len(where) > 3 else "")
    try:
        part_class = getattr(importlib.import_module(module), name)
        if not (isinstance(part_class, type) and issubclass(part_class, nn.Module)):
            raise TypeError(f"{name} is not a part of a model")
        with without_network():
            part_class(**arguments)
    except WeightsAbsent as error:
        return CheckResult(absent, what, f"absent; named by {users}", str(error))
    except MissingExtra as error:
        return CheckResult(absent, what, f"cannot be used; named by {users}", f"It {error}")
    except UserError as error:
        return CheckResult("failing", what, f"cannot be used; named by {users}", str(error))
    except (ImportError, AttributeError, TypeError) as error:
        said = f"{part['class_path']} cannot be built ({type(error).__name__}: {error})"
        return CheckResult("failing", what, said, "Correct class_path or init_args.")
    return CheckResult("ok", what, f"loads without the network; named by {users}")


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """Keep the hub's client from asking the network."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
