"""Whether the published towers of other groups could run here: package, weights, access to the hub, memory."""

import importlib.metadata
from collections.abc import Iterator
from typing import NamedTuple

from bimcvr.doctor.check_result import CheckResult
from bimcvr.doctor.environment import total_memory
from bimcvr.doctor.weights import without_network
from bimcvr.errors import UserError
from bimcvr.hub import model_files
from bimcvr.models.peers import colipri, cxr_bert, merlin, spectre

_GB = 1e9
_WEIGHTS = (".safetensors", ".pt")
_PATIENCE = 10.0  # seconds to wait for the hub's answer


class _Published(NamedTuple):
    """Files of one model on the hub; `revision` is a commit, None for the newest."""

    model: str
    files: tuple[str, ...]
    revision: str | None = None


class _State(NamedTuple):
    """What was found of one model, what to do about it, and the bytes of its weights; None where they are not known."""

    found: str
    remedy: str
    weights: int | None


_PEERS: dict[str, tuple[str, tuple[_Published, ...]]] = {
    "COLIPRI": (
        "colipri",
        (
            _Published(colipri.MODEL, (colipri.FILE,)),
            _Published(cxr_bert.TOKENIZER, ("vocab.txt",), cxr_bert.REVISION),
        ),
    ),
    "SPECTRE": (
        "spectre-fm",
        (
            _Published(
                spectre.MODEL,
                (spectre.BACKBONE, spectre.COMBINER, spectre.IMAGE_HEAD, spectre.LORA, spectre.TEXT_HEAD),
            ),
            _Published(spectre.LANGUAGE_MODEL, ("config.json", "tokenizer.json", "model.safetensors")),
        ),
    ),
    "Merlin": (
        "merlin-vlm",
        (
            _Published(merlin.MODEL, (merlin.FILE,)),
            _Published(merlin.LANGUAGE_MODEL, ("config.json", "vocab.json", "merges.txt")),
        ),
    ),
}


def check_peers(ask_hub: bool) -> Iterator[CheckResult]:
    """Say of each peer whether it could run here; one that could not is a warning, since nothing else needs it.

    Args:
        ask_hub: ask the hub whether it would hand over what is missing. Nothing is downloaded.
    """
    hub = _Hub(ask_hub)
    for name, (package, published) in _PEERS.items():
        states = [_package(package), *(_here(one) or hub.missing(one) for one in published)]
        states.append(_memory([state.weights for state in states]))
        remedies = list(dict.fromkeys(state.remedy for state in states if state.remedy))
        # without its package the rest can wait
        remedy = remedies[0] if states[0].remedy else " ".join(remedies)
        found = "; ".join(state.found for state in states)
        yield CheckResult("warning" if remedies else "ok", f"peer: {name}", found, remedy)


def _package(name: str) -> _State:
    try:
        return _State(f"{name} {importlib.metadata.version(name)}", "", 0)
    except importlib.metadata.PackageNotFoundError:
        return _State(f"{name} is not installed", "`pip install 'bimcvr[peers]'`, if you need it.", 0)


def _here(one: _Published) -> _State | None:
    """Return the state of a model whose files are in the hub's cache on this machine; None if one is not."""
    try:
        with without_network():
            paths = model_files(one.model, one.files, one.revision)
    except UserError:
        return None
    return _State(f"{one.model} is here", "", sum(path.stat().st_size for path in paths if path.suffix in _WEIGHTS))


class _Hub:
    """Answers of the hub about what is missing; after one failed connection it is not asked again."""

    def __init__(self, ask: bool) -> None:
        self._unreachable = "" if ask else "and the hub was not asked (`doctor --hub`)"

    def missing(self, one: _Published) -> _State:
        """Say whether the hub would hand over a model that is not here."""
        fetch = f"`hf download {one.model}`, or name a folder that it made elsewhere in the configuration."
        if not self._unreachable:
            from huggingface_hub import HfApi, constants
            from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

            try:
                about = HfApi().model_info(one.model, revision=one.revision, timeout=_PATIENCE, files_metadata=True)
                HfApi().auth_check(one.model)
            except GatedRepoError:
                remedy = f"Accept its terms at https://huggingface.co/{one.model}, and log in with `hf auth login`."
                return _State(f"{one.model} is not here, and the hub wants its terms accepted", remedy, None)
            except RepositoryNotFoundError:
                remedy = "If it is private, log in with `hf auth login`."
                return _State(f"{one.model} is not here, and the hub does not show it", remedy, None)
            except Exception as error:  # the hub's client lets through what its HTTP library raises
                offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
                self._unreachable = f"and the hub cannot be reached ({offline or type(error).__name__})"
            else:
                sizes = {file.rfilename: file.size for file in about.siblings or []}
                absent = [name for name in one.files if name not in sizes]
                if absent:
                    return _State(f"{one.model} is not here, and on the hub without {absent[0]}", fetch, None)
                weights = sum(sizes[name] or 0 for name in one.files if name.endswith(_WEIGHTS))
                return _State(f"{one.model} is not here; the hub has it", fetch, weights)
        return _State(f"{one.model} is not here, {self._unreachable}", fetch, None)


def _memory(sizes: list[int | None]) -> _State:
    """Compare the weights with the memory of this machine; while one file is read, it is there twice."""
    if None in sizes:
        return _State("memory: not known before the weights are", "", None)
    need, total = 2 * sum(size or 0 for size in sizes), total_memory()
    found = f"memory: {need / _GB:.1f} GB to load the weights, of {total / _GB:.1f} GB"
    return _State(found, "" if need < total else "Use a machine with more memory.", None)
