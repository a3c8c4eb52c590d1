"""The public names are documented: what each is, every argument, and the shapes of arrays."""

import importlib
import inspect
import re
from typing import Any

import pytest

PACKAGES = ["", "models", "data", "metrics", "evaluation", "curation", "search"]
NAMES = [
    (module, name)
    for package in PACKAGES
    for module in [importlib.import_module(f"bimcvr.{package}".rstrip("."))]
    for name in module.__all__
]
ARRAYS = re.compile(r"\b(Tensor|ndarray)\b")


def documented(thing: Any) -> str:
    """The docstring; of a class with that of its constructor's arguments, which is the same one here."""
    return inspect.getdoc(thing) or ""


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda value: getattr(value, "__name__", value))
def test_a_public_name_is_documented(module: Any, name: str) -> None:
    thing = getattr(module, name)
    text = documented(thing)
    if not callable(thing):
        return
    assert text, f"{name} has no docstring"
    if inspect.isclass(thing) and (issubclass(thing, tuple | BaseException) or hasattr(thing, "__dataclass_fields__")):
        fields = getattr(thing, "_fields", None) or getattr(thing, "__dataclass_fields__", ())
        missing = [field for field in fields if not field.startswith("_") and field not in text]
    else:
        parameters = inspect.signature(thing).parameters.values()
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        missing = [one.name for one in parameters if one.kind not in kinds and f"{one.name}:" not in text]
    assert not missing, f"{name} does not document {', '.join(missing)}"


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda value: getattr(value, "__name__", value))
def test_a_public_function_of_arrays_gives_shapes(module: Any, name: str) -> None:
    thing = getattr(module, name)
    if inspect.isfunction(thing) and any(ARRAYS.search(str(kind)) for kind in thing.__annotations__.values()):
        assert re.search(r"\([A-Z1](, ?[A-Z0-9…]*)*,?\)", documented(thing)), f"{name} gives no shape"
