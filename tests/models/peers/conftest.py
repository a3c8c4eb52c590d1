"""Files of small peers, made once; no test here can reach a network."""

from pathlib import Path
from typing import Any

import pytest

from helpers import peer_files


@pytest.fixture(autouse=True)
def without_network(network_off: list[Any]) -> None:
    """Make every connection of a test here fail."""


@pytest.fixture(scope="session")
def colipri_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.safetensors and, below, the folder of its tokenizer, cxr-bert."""
    folder = tmp_path_factory.mktemp("colipri")
    peer_files.write_colipri(folder)
    return folder


@pytest.fixture(scope="session")
def spectre_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the five files of SPECTRE and, below, the folder of its language model, qwen3."""
    folder = tmp_path_factory.mktemp("spectre")
    peer_files.write_qwen3(folder / "qwen3")
    peer_files.write_spectre(folder)
    return folder


@pytest.fixture(scope="session")
def merlin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Merlin's checkpoint and, below, the folder of its language model, longformer."""
    folder = tmp_path_factory.mktemp("merlin")
    _MERLIN[str(folder)] = peer_files.write_merlin(folder)
    return folder


@pytest.fixture(scope="session")
def merlin_model(merlin_folder: Path) -> Any:
    """The package's own model, whose weights are in that checkpoint."""
    return _MERLIN[str(merlin_folder)]


_MERLIN: dict[str, Any] = {}
