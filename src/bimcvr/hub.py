"""Finding a published model: a local folder, the hub's cache on this machine, or one download."""

import re
from collections.abc import Sequence
from pathlib import Path

from bimcvr.errors import UserError, WeightsAbsent

_HUB_ID = re.compile(r"^(?!\.)[\w.-]+(/[\w.-]+)?$")
_PATIENCE = 10.0  # seconds to wait for the hub's first answer
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
REPAIR = "Download it again, `hf download ORGANISATION/NAME --local-dir DIR`, and do not change the folder."


def model_folder(model: str, config: str, weights: Sequence[str]) -> Path:
    """Return the folder of a published model.

    Args:
        model: a folder as it was downloaded, or a hub id (`ORGANISATION/NAME`, with or without `hf-hub:`).
        config: the file that describes the model.
        weights: possible names of the weights file, the preferred one first.

    Raises:
        UserError: there is no such folder, or its config or weights are missing.
        WeightsAbsent: the model is not in the hub's cache and cannot be downloaded. The network is tried once, so the
            error comes without a long wait.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        pick(folder, (config,))
        pick(folder, weights)
        return folder
    hub_id = _hub_id(model)
    return _cached(hub_id, config, weights) or _downloaded(hub_id, config, weights)


def model_files(model: str, names: Sequence[str], revision: str | None = None) -> list[Path]:
    """Return single files of a published model.

    Args:
        model: a folder as it was downloaded, a hub id (`ORGANISATION/NAME`), or the file itself where it is one.
        names: the files.
        revision: a commit of the hub; None takes the newest.

    Raises:
        UserError: there is no such folder, or a file is missing in it.
        WeightsAbsent: they are not in the hub's cache and cannot be downloaded. The network is tried once.
    """
    folder = Path(model).expanduser()
    if folder.is_file() and len(names) == 1:
        return [folder]
    if folder.is_dir():
        return [pick(folder, (name,)) for name in names]
    hub_id = _hub_id(model)
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    cached = [try_to_load_from_cache(hub_id, name, revision=revision) for name in names]
    paths = [Path(path) for path in cached if isinstance(path, str)]
    if len(paths) == len(names):
        return paths
    try:
        HfApi().model_info(hub_id, timeout=_PATIENCE)  # fails at once where a download would retry for a minute
        return [Path(hf_hub_download(hub_id, name, revision=revision)) for name in names]
    except Exception as error:  # the hub's client lets through what its HTTP library raises
        raise _absent(hub_id, error) from error


def pick(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of several files that a model folder has.

    Raises:
        UserError: it has none of them.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"The model folder {folder} is incomplete: it has no {' or '.join(names)}. {REPAIR}")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or `no message`."""
    return next(iter(str(error).strip().splitlines()), "no message")


def _cached(hub_id: str, config: str, weights: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = [try_to_load_from_cache(hub_id, name) for name in (config, *weights)]
    paths = [Path(path) if isinstance(path, str) else None for path in cached]
    return paths[0].parent if paths[0] is not None and any(paths[1:]) else None


def _downloaded(hub_id: str, config: str, weights: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        # queried first, since it fails at once where the download itself would retry for a minute
        published = {file.rfilename for file in HfApi().model_info(hub_id, timeout=_PATIENCE).siblings or []}
        wanted = [name for name in weights if name in published][:1]
        shards = [f"{name.partition('.')[0]}-*-of-*" for name in wanted if name.endswith(".index.json")]
        folder = Path(
            snapshot_download(hub_id, allow_patterns=["*.json", "*.txt", "*.model", "*.spm", *wanted, *shards])
        )
    except Exception as error:  # the hub's client lets through what its HTTP library raises
        raise _absent(hub_id, error) from error
    pick(folder, (config,))
    pick(folder, weights)
    return folder


def _hub_id(model: str) -> str:
    hub_id = model.removeprefix("hf-hub:")
    if not _HUB_ID.match(hub_id):
        raise UserError(f"There is no model folder {model}. {_remedy('ORGANISATION/NAME')}")
    return hub_id


def _absent(hub_id: str, error: Exception) -> WeightsAbsent:
    from huggingface_hub import constants

    details = f"{type(error).__name__}: {first_line(error)}"
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else details
    return WeightsAbsent(
        f"The model '{hub_id}' is neither a folder nor in this machine's hub cache, and it "
        f"cannot be downloaded ({reason}). {_remedy(hub_id)}"
    )


def _remedy(hub_id: str) -> str:
    return (
        f"Where there is a network run `hf download {hub_id} --local-dir DIR`, copy DIR to this machine "
        "unchanged, and give its path as `model`."
    )
