"""Every package that `src` imports is declared in setup.cfg, in the extra that its room may use."""

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bimcvr.extras import EXTRAS, is_installed

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/bimcvr"
# which part of the package may import an extra's packages
ROOMS = {
    "search": ("search", "commands/search", "serving"),
    "sweep": ("sweeps",),
    "curate": ("curation", "commands/dataset/curate.py", "serving"),
    "xlsx": ("curation/sources/workbook.py",),
    "peers": ("models/peers",),
}
# not a part of `dev`: heavy, and only to compare with; another logger
APART = ("peers", "tensorboard")
# needed without an import in `src`: open_clip imports torchvision; jsonargparse has an extra
IMPLICIT = {"torchvision", "signatures"}


@cache
def requirements() -> dict[str, list[Requirement]]:
    """The direct requirements of setup.cfg: those of the base under "", those of each extra under its name."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: [
            Requirement(line)
            for line in text.splitlines()
            if line and not line.startswith(("#", "bimcvr[")) and not line.isspace()
        ]
        for extra, text in lists.items()
    }


def distributions(extra: str) -> set[str]:
    """The canonical names that an extra declares; `dask[distributed]` also declares `distributed`."""
    return {canonicalize_name(name) for one in requirements()[extra] for name in (one.name, *one.extras)}


def imported(path: Path) -> set[str]:
    """The third-party top-level modules that a file imports, anywhere in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.split(".")[0])
    return modules - sys.stdlib_module_names - {"bimcvr"}


@cache
def providers() -> dict[str, set[str]]:
    """Module: the distributions of this environment that provide it."""
    return {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}


def files() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path


def test_each_import_is_declared_where_it_may_be_used() -> None:
    undeclared = []
    for name, path in files():
        allowed = distributions("")
        for extra, rooms in ROOMS.items():
            if name.startswith(rooms):
                allowed = allowed | distributions(extra)
        modules = imported(path)
        if name.startswith(ROOMS["peers"]) and not is_installed("peers"):
            modules -= set(EXTRAS["peers"])
        undeclared += [f"{name} imports {module}" for module in modules if not providers().get(module, set()) & allowed]
    assert not undeclared


def test_each_base_requirement_is_imported() -> None:
    used = {
        distribution
        for _, path in files()
        for module in imported(path)
        for distribution in providers().get(module, set())
    }
    assert distributions("") - used - IMPLICIT == set()


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_modules_of_an_extra_are_those_of_setup_cfg(extra: str) -> None:
    if extra in APART and not is_installed(extra):
        pytest.skip(f"the extra '{extra}' is not installed (make test EXTRAS=dev,{extra})")
    provided = {module: providers().get(module, set()) for module in EXTRAS[extra]}
    assert all(provided.values()), "make install brings every extra"
    assert {name for module in EXTRAS[extra] for name in provided[module] & distributions(extra)} >= {
        canonicalize_name(one.name) for one in requirements()[extra] if not one.extras
    }


def test_dev_brings_every_other_extra() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = {extra for extra in config["options.extras_require"] if extra not in ("dev", *APART)}
    assert set(re.findall(r"bimcvr\[(\w+)\]", config["options.extras_require"]["dev"])) == wanted


def test_the_lowest_constraints_are_the_lower_bounds() -> None:
    pins = [Requirement(line) for line in (ROOT / "constraints-lowest.txt").read_text().splitlines() if line[:1] != "#"]
    pinned = {canonicalize_name(one.name): Version(next(iter(one.specifier)).version) for one in pins}
    bounds = {
        canonicalize_name(one.name): Version(bound.version)
        for group in requirements().values()
        for one in group
        for bound in one.specifier
        if bound.operator in (">=", "==")
    }
    assert pinned == bounds


def test_the_tested_versions_satisfy_every_range() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    for one in (one for group in requirements().values() for one in group):
        version = pinned.get(canonicalize_name(one.name), "")
        assert version, f"constraints.txt has no version of {one.name}"
        assert one.specifier.contains(version, prereleases=True), f"{one.name} {version} is outside {one.specifier}"


def test_the_tested_versions_pin_all_that_an_installation_brings() -> None:
    """What the packages of this environment require of each other, on the system that it was installed for."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    tested = next(line.partition("==")[2] for line in lines if line.startswith("torch=="))
    if version("torch").split("+")[0] != tested:
        pytest.skip(f"this environment was not installed with constraints.txt: its torch is {version('torch')}")
    seen, left = set(), [one for group in requirements().values() for one in group]
    while left:
        one = left.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            wanted = map(Requirement, requires(one.name) or [])
        except PackageNotFoundError:
            continue  # of another system or Python
        left += [
            other
            for other in wanted
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ("", *one.extras))
        ]
        assert key[0] in pinned, f"constraints.txt has no version of {one.name}"
    assert len(seen) > 150
