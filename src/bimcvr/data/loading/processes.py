"""The processes that load data, and the memory that those of one machine share."""

import os
from functools import partial
from typing import Any

import torch
from torch import distributed

from bimcvr.data.cache.memory_copy import MemoryCopy
from bimcvr.parallel import start_worker, use_one_thread


def loader_settings(workers: int, read_ahead: int, device: str | None) -> dict[str, Any]:
    """Return what a DataLoader is told of its processes.

    Args:
        workers: processes that load data; 0 for the training's own.
        read_ahead: batches that each worker keeps ready.
        device: the type of the device that the batches go to; None where it is not known.
    """
    # from pinned memory a GPU takes a batch while it computes
    pinned = {"pin_memory": device in (None, "cuda") and torch.cuda.is_available()}
    if not workers:
        return {"num_workers": 0, **pinned}
    return {
        "num_workers": workers,
        "prefetch_factor": read_ahead,
        "persistent_workers": True,
        "worker_init_fn": partial(_start_worker, os.getpid()),
        # SimpleITK in forked workers can hang
        "multiprocessing_context": "forkserver" if os.name == "posix" else "spawn",
        **pinned,
    }


def shared_memory(own: MemoryCopy) -> MemoryCopy:
    """Let the training processes of a machine use the memory of its first; every process has to call it.

    Args:
        own: this process's, which is empty.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return own
    machine = f"{os.uname().nodename} {os.readlink('/proc/self/ns/pid')}"
    all_of_them: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(all_of_them, (machine, own.path))
    first = next(path for other, path in all_of_them if other == machine)
    if first != own.path:
        own.share(first)
    return own


def _start_worker(parent: int, worker: int) -> None:
    start_worker(parent)  # torch's own watch sees the fork server, which lives on
    use_one_thread()
