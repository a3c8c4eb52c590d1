"""Readers of archives, one for each layout: they yield studies, and what is set aside with the reason."""

from importlib import import_module
from types import ModuleType

# where configurations of earlier versions have them
_MOVED = ("bimcv_r", "bimcv_covid")


def __getattr__(name: str) -> ModuleType:
    if name in _MOVED:
        return import_module(f"{__name__}.bimcv.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
