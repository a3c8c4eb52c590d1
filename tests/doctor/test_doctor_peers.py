"""The doctor says of each peer whether it could run: package, weights, access to the hub, memory."""

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
from requests import Response

from bimcvr.doctor import peers
from bimcvr.doctor.check_result import CheckResult
from bimcvr.doctor.peers import check_peers

SIZE = 1_000_000


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages seem to be installed."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def put(cache: Path, published: Any) -> None:
    """Files of a model as the hub's client keeps them."""
    commit = published.revision or "a" * 40
    folder = cache / f"models--{published.model.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    for name in published.files:
        path = folder / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(SIZE))


def lines(ask_hub: bool = False) -> dict[str, CheckResult]:
    return {line.what.removeprefix("peer: "): line for line in check_peers(ask_hub)}


class Hub:
    """A hub that has some models; others raise an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception], lacks: str = "") -> None:
        self.asked: list[str] = []
        self.errors, self.lacks = errors, lacks
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)

    def model_info(self, model: str, **_: object) -> SimpleNamespace:
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled("as the client does")
        self.asked.append(model)
        if model in self.errors and not isinstance(self.errors[model], GatedRepoError):
            raise self.errors[model]
        names = [name for _, published in peers._PEERS.values() for one in published for name in one.files]
        files = [SimpleNamespace(rfilename=name, size=SIZE) for name in names if name != self.lacks]
        return SimpleNamespace(siblings=files)

    def auth_check(self, model: str) -> None:
        if model in self.errors:
            raise self.errors[model]


def test_nothing_is_here_and_nobody_is_asked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, {})
    found = lines()
    assert list(found) == ["COLIPRI", "SPECTRE", "Merlin"]
    assert {line.state for line in found.values()} == {"warning"}
    assert "microsoft/colipri is not here, and the hub was not asked (`doctor --hub`)" in found["COLIPRI"].found
    assert "memory: not known before the weights are" in found["COLIPRI"].found
    assert hub.asked == []


def test_a_package_that_is_absent_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    line = lines()["SPECTRE"]
    assert line.found.startswith("spectre-fm is not installed; ")
    assert line.remedy == "`pip install 'bimcvr[peers]'`, if you need it."


def test_a_peer_with_package_and_weights_is_ok(cache: Path, packages: None) -> None:
    for one in peers._PEERS["Merlin"][1]:
        put(cache, one)
    found = lines()
    total = peers.total_memory() / 1e9
    assert found["Merlin"] == (
        "ok",
        "peer: Merlin",
        "merlin-vlm 1.2.3; stanfordmimi/Merlin is here; yikuan8/Clinical-Longformer is here;"
        f" memory: 0.0 GB to load the weights, of {total:.1f} GB",
        "",
    )
    assert found["COLIPRI"].state == "warning"


def test_too_little_memory(cache: Path, packages: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in peers._PEERS["Merlin"][1]:
        put(cache, one)
    monkeypatch.setattr(peers, "total_memory", lambda: 2 * SIZE - 1)
    line = lines()["Merlin"]
    assert (line.state, line.remedy) == ("warning", "Use a machine with more memory.")


def test_the_hub_would_hand_it_over(cache: Path, packages: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, {}, lacks=peers.spectre.LORA)
    found = lines(ask_hub=True)
    assert "microsoft/colipri is not here; the hub has it" in found["COLIPRI"].found
    assert "memory: 0.0 GB to load the weights" in found["COLIPRI"].found
    assert found["COLIPRI"].remedy.startswith("`hf download microsoft/colipri`")
    assert f"cclaess/SPECTRE is not here, and on the hub without {peers.spectre.LORA}" in found["SPECTRE"].found
    assert not list(cache.iterdir()), "nothing is downloaded"


def test_access_that_the_hub_refuses(cache: Path, packages: None, monkeypatch: pytest.MonkeyPatch) -> None:
    response = Response()
    errors: dict[str, Exception] = {
        "microsoft/colipri": GatedRepoError("gated", response=response),
        "stanfordmimi/Merlin": RepositoryNotFoundError("none", response=response),
    }
    Hub(monkeypatch, errors)
    found = lines(ask_hub=True)
    assert "the hub wants its terms accepted" in found["COLIPRI"].found
    assert "https://huggingface.co/microsoft/colipri" in found["COLIPRI"].remedy
    assert "stanfordmimi/Merlin is not here, and the hub does not show it" in found["Merlin"].found


def test_a_hub_that_cannot_be_reached_is_asked_once(
    cache: Path, packages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [one.model for _, published in peers._PEERS.values() for one in published]
    hub = Hub(monkeypatch, dict.fromkeys(every, ConnectionError("secret proxy")))
    found = lines(ask_hub=True)
    assert len(hub.asked) == 1
    for line in found.values():
        assert "the hub cannot be reached (ConnectionError)" in line.found
        assert "secret" not in line.found
