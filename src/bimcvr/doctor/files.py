"""What earlier steps left behind: cache, checkpoint, and W&B's state."""

import json
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from bimcvr.doctor.check_result import CheckResult
from bimcvr.doctor.weights import without_network
from bimcvr.errors import UserError

SAMPLE = 100
"""Cache entries whose checksums are compared; `cache --verify` compares all."""
_STALE = 3600.0  # seconds after which nobody writes to a temporary file any more


def check_cache(folder: Path) -> Iterator[CheckResult]:
    """Look at a cache folder: readable, whole in a sample, free of leftovers."""
    if not folder.is_dir():
        yield CheckResult(
            "failing",
            "cache",
            f"there is no folder {folder}",
            "Make it: `python -m bimcvr cache MANIFEST --cache FOLDER`.",
        )
        return
    try:
        entries = sorted(folder.glob("*/[!.]*.ct"))
        left = [path for path in folder.rglob(".writing-*") if time.time() - path.stat().st_mtime > _STALE]
        size = sum(path.stat().st_size for path in entries)
    except OSError as error:
        yield CheckResult(
            "failing",
            "cache",
            f"{folder} cannot be read ({error.strerror})",
            "Mend its permissions, or name another folder.",
        )
        return
    if not entries:
        yield CheckResult(
            "warning",
            "cache",
            f"{folder} has no volumes",
            "`python -m bimcvr cache MANIFEST` fills it, and so does `fit`.",
        )
    else:
        yield _check_entries(entries, f"{len(entries)} volumes, {size / 1e9:.2f} GB")
    if left:
        yield CheckResult(
            "warning",
            "cache leftovers",
            f"{len(left)} temporary files of killed processes, the first {left[0]}",
            f"Delete them while nothing runs: `find {folder} -name '.writing-*' -mmin +60 -delete`.",
        )


def _check_entries(entries: list[Path], found: str) -> CheckResult:
    step = max(1, len(entries) // SAMPLE)
    sample = entries[::step]
    damaged = [path for path in sample if not _whole(path)]
    if damaged:
        return CheckResult(
            "failing",
            "cache",
            f"{found}; {len(damaged)} of {len(sample)} looked at are damaged, the first {damaged[0]}",
            "Delete them: they are made again from their sources. `python -m bimcvr cache MANIFEST --verify` looks at"
            " all.",
        )
    return CheckResult("ok", "cache", f"{found}; {len(sample)} looked at are whole")


def _whole(path: Path) -> bool:
    from bimcvr.data.cache.volume_cache import VolumeCache
    from bimcvr.data.hu.model_grid import ModelGrid

    content = path.read_bytes()
    try:
        record = json.loads(content[content.rindex(b'{"size"') :])
        depth, height, width = record["size"]
        VolumeCache(path.parent, ModelGrid((depth, height, width))).read(path, verify=True)
    except (ValueError, KeyError, TypeError, UserError):
        return False
    return True


def check_checkpoint(path: Path, trust: Sequence[str] = ()) -> CheckResult:
    """Look whether a checkpoint is whole, and whether this version can rebuild its model.

    Args:
        path: the file.
        trust: classes, modules or packages that it may name beside those of `bimcvr.parsing.trust`.
    """
    from bimcvr.models.checkpoint import read_checkpoint, refuse_not_finite
    from bimcvr.models.embedder import load_retriever

    if not path.is_file():
        return CheckResult("failing", "checkpoint", f"there is no file {path}", "Give a run's checkpoints/best.ckpt.")
    try:
        state = read_checkpoint(path)["state_dict"]
    except UserError as error:
        return CheckResult("failing", "checkpoint", f"{path} cannot be read", str(error))
    try:
        refuse_not_finite(path, state)
    except UserError as error:
        return CheckResult("failing", "checkpoint", str(error), "Train again, or give the checkpoint of another run.")
    try:
        with without_network(), warnings.catch_warnings(action="ignore"):
            model = load_retriever(path, trust)
    except UserError as error:
        return CheckResult("failing", "checkpoint", f"{path} is whole, but its model cannot be built", str(error))
    except Exception as error:  # whatever another version's arguments or shapes make the classes raise
        first = " ".join(str(error).split())[:200]
        return CheckResult(
            "failing",
            "checkpoint",
            f"{path} does not fit this version's model ({type(error).__name__}: {first})",
            "Use the commit that config.yaml's run states in result.json (`git_commit`), or train again.",
        )
    if not (path.parent.parent / "config.yaml").is_file():
        return CheckResult(
            "warning",
            "checkpoint",
            f"{path} loads, but has no config.yaml in the folder above it",
            "Keep a run folder together, or name the config with --config.",
        )
    return CheckResult(
        "ok",
        "checkpoint",
        f"{path} loads: {sum(value.numel() for value in state.values()):,} values, E = {model.embed_dim}",
    )


def check_wandb(runs: Path) -> CheckResult:
    """Say where W&B's data go, and what waits for `wandb sync`."""
    mode = os.environ.get("WANDB_MODE", "offline")
    waiting = len(list(runs.glob("*/*/wandb/offline-run-*"))) if runs.is_dir() else 0
    if mode == "online" and "WANDB_API_KEY" not in os.environ and not _in_netrc():
        return CheckResult(
            "failing",
            "W&B",
            "WANDB_MODE is online, but nobody is logged in",
            "`wandb login`, or WANDB_API_KEY; or unset WANDB_MODE: runs are then kept here, for `wandb sync`.",
        )
    return CheckResult(
        "ok", "W&B", f"{mode}; {waiting} offline runs below {runs}" + ("" if mode == "online" else ": nothing is sent")
    )


def _in_netrc() -> bool:
    import netrc
    from urllib.parse import urlparse

    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
