"""Published weights of a peer: where they are, whose they are, and loading them without leaving a tensor random."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from bimcvr.atomic_files import sha256_of
from bimcvr.errors import UserError
from bimcvr.hub import REPAIR, model_files

RANDOM = "random weights"
"""What results say in place of a model's name where nothing published was loaded."""


class PeerWeights:
    """The files that a tower's weights come from.

    Args:
        model: a hub id, a folder as it was downloaded, or the file itself where it is one.
        names: the files of the tower.
        random_weights: the weights are random. Without `files` none are read; otherwise those of `model` are, as in a
            test of the loading. Results then say so, and never bear the model's name.
        revision: a commit of the hub; None takes the newest.

    Raises:
        UserError: a file is missing.
        WeightsAbsent: the hub cannot be reached, and the model is not in its cache.
    """

    def __init__(self, model: str, names: Sequence[str], random_weights: bool, revision: str | None = None) -> None:
        self.model, self.random, self.revision = model, random_weights, revision
        local = Path(model).expanduser().exists()
        self.files = [] if random_weights and not local else model_files(model, names, revision)

    @property
    def source(self) -> str:
        """What results call these weights."""
        return RANDOM if self.random else self.model

    @cached_property
    def facts(self) -> dict[str, object]:
        """What a receipt says of them: every file by its SHA-256, and the hub's commit where they come from there."""
        return {
            "source": self.source,
            "random": self.random,
            "files": {path.name: sha256_of(path) for path in self.files},
            "revision": next(iter({_commit(path) for path in self.files} - {None}), None),
        }


def _commit(path: Path) -> str | None:
    """Return the commit of a file in the hub's cache: …/snapshots/<commit>/<name>."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-2] else None


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read a file of tensors, without running code that it may hold.

    Args:
        path: a .safetensors file, or one that torch saved.
        prefix: only names that begin so are taken, without it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as stream:
                names = [name for name in stream.keys() if name.startswith(prefix)]
                return {name.removeprefix(prefix): stream.get_tensor(name) for name in names}
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    except Exception as error:  # pickle, zip and safetensors each have their own for a damaged file
        raise UserError(f"{path} cannot be read as a file of weights ({type(error).__name__}). {REPAIR}") from error


def load(
    module: nn.Module, tensors: dict[str, Tensor], path: Path, may_lack: Sequence[str] = (), surplus: bool = False
) -> None:
    """Load tensors into a module; every tensor of the module must be among them, and no other.

    Args:
        module: with random weights.
        tensors: by name.
        path: where they come from, for the message.
        may_lack: the module's own tensors that the file need not have.
        surplus: whether it may have others, as where the model's own package ignores them.

    Raises:
        UserError: they are not those of the module.
    """
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    wrong = next(
        (
            f"{name} is {given.get(name, 'absent')} there and {own.get(name, 'absent')} in the model"
            for name in ([*own] if surplus else {**own, **given})
            if own.get(name) != given.get(name) and not (name not in given and name in may_lack)
        ),
        None,
    )
    if wrong:
        raise UserError(
            f"{path} does not hold the weights of this model: {wrong}. Give the file as it was published; a smaller"
            " model of random weights needs `reduced`."
        )
    module.load_state_dict(tensors, strict=False)


@contextlib.contextmanager
def drawn_at_random() -> Iterator[None]:
    """Build in this block with weights that are the same in every process, whatever was drawn before.

    What torch advises the authors of the packages is not printed.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        yield


def refuse_reduced(reduced: object, random_weights: bool) -> None:
    """Refuse a model of another shape than the published one, unless its weights are declared random.

    Raises:
        UserError: they are not.
    """
    if reduced and not random_weights:
        raise UserError("`reduced` makes a model that was never published: it needs `random_weights: true`.")
