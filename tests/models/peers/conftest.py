"""Files of small peers, made once; no test here can reach a network."""

from pathlib import Path
from typing import Any

import pytest

from helpers import peer_files
from helpers.network import turn_off

MODELS: dict[str, Any] = {}
"""Models of the packages' own classes, by the folder of their weights."""


def made(name: str, factory: pytest.TempPathFactory) -> Path:
    """Write a peer's files, before the fixture of any test runs: the network has to be turned off here as well."""
    folder = factory.mktemp(name)
    with pytest.MonkeyPatch.context() as patch:
        tried = turn_off(patch)
        MODELS[str(folder)] = getattr(peer_files, f"write_{name}")(folder)
    assert not tried
    return folder


@pytest.fixture(autouse=True)
def without_network(network_off: list[Any]) -> None:
    """Make every connection of a test here fail."""


@pytest.fixture(scope="session")
def colipri_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.safetensors and, below, the folder of its tokenizer, cxr-bert."""
    return made("colipri", tmp_path_factory)


@pytest.fixture(scope="session")
def spectre_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the five files of SPECTRE and, below, the folder of its language model, qwen3."""
    return made("spectre", tmp_path_factory)


@pytest.fixture(scope="session")
def merlin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Merlin's checkpoint and, below, the folder of its language model, longformer."""
    return made("merlin", tmp_path_factory)


@pytest.fixture(scope="session")
def merlin_model(merlin_folder: Path) -> Any:
    """The package's own model, whose weights are in that checkpoint."""
    return MODELS[str(merlin_folder)]
