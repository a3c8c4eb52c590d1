"""Volumes kept in memory, once for all processes of a machine, from the first time that each is read.

The memory is an anonymous file of Linux (memfd): all processes of the user open it under the owner's entry in /proc,
and the system frees it when the last of them ends, however it ends.
"""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bimcvr.data.hu.model_grid import Size
from bimcvr.errors import UserError

Kept = Literal["int16", "uint8"]
"""Voxels in HU, or rounded to 255 steps of the window, in half the memory."""

SHARE = 0.9
"""Of the free memory, what volumes may take: the rest is for what the training itself needs."""

_HEAD = np.dtype([("kept", "<f8"), ("spacing", "<f8", 3)])


class MemoryCopy:
    """A place in memory for N volumes of one size, empty at first.

    Args:
        count: N.
        size: of a volume, (D, H, W).
        kept: how voxels are kept.

    Raises:
        UserError: the system has no such memory, or not enough.
    """

    def __init__(self, count: int, size: Size, kept: Kept) -> None:
        if not hasattr(os, "memfd_create"):
            raise UserError("data.keep_in_memory needs Linux. Leave it out.")
        self.count, self.size, self.kept = count, size, kept
        refuse_too_much(count, size, kept, free_memory())
        self._fd: int | None = os.memfd_create("bimcvr-volumes")
        os.ftruncate(self._fd, count * self._stride)
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"

    def share(self, path: str) -> None:
        """Use the memory of another process of this machine, whose `path` this is, in the place of the own."""
        self.close()
        self.path = path
        self._open()

    def read(self, position: int) -> tuple[np.ndarray, tuple[float, float, float]] | None:
        """Return voxels (D, H, W) and spacing (mm) of a volume; None where it has not been kept yet."""
        head = np.zeros((), _HEAD)
        start = position * self._stride
        if os.preadv(self._open(), [head.reshape(1).view(np.uint8).data], start) != _HEAD.itemsize or not head["kept"]:
            return None
        voxels = np.empty(self.size, self.kept)
        if os.preadv(self._open(), [voxels.reshape(-1).view(np.uint8).data], start + _HEAD.itemsize) != voxels.nbytes:
            return None
        depth, height, width = head["spacing"].tolist()
        return voxels, (depth, height, width)

    def keep(self, position: int, voxels: np.ndarray, spacing: tuple[float, float, float]) -> None:
        """Keep a volume; several processes may do it at once, since they have the same.

        Args:
            position: from 0 to N - 1.
            voxels: (D, H, W), of the type that is kept.
            spacing: mm along D, H, W.
        """
        start = position * self._stride
        # the voxels first: whoever sees the head sees them too, since the system orders writes to one file
        self._write(np.ascontiguousarray(voxels, self.kept), start + _HEAD.itemsize)
        self._write(np.array((1.0, spacing), _HEAD), start)

    def close(self) -> None:
        """Give up this process's hold on the memory."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: it opens the memory by its path."""
        return {**self.__dict__, "_fd": None}

    def __del__(self) -> None:
        """Free the memory with its last holder."""
        if getattr(self, "_fd", None) is not None:
            self.close()

    @property
    def _stride(self) -> int:
        # volumes begin at pages
        return -(-(_HEAD.itemsize + _bytes_of(self.size, self.kept)) // 4096) * 4096

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR)
        return self._fd

    def _write(self, values: np.ndarray, start: int) -> None:
        flat = values.reshape(-1).view(np.uint8)
        done = 0
        while done < len(flat):
            done += os.pwrite(self._open(), flat[done:].data, start + done)


def refuse_too_much(count: int, size: Size, kept: Kept, free: int) -> None:
    """Refuse to keep more volumes than the memory has room for.

    Args:
        count: how many there are.
        size: of one, (D, H, W).
        kept: how voxels are kept.
        free: bytes.

    Raises:
        UserError: with the arithmetic.
    """
    each = _bytes_of(size, kept)
    if count * each <= SHARE * free:
        return
    half = _bytes_of(size, "uint8")
    fits = f" As uint8 they would take {count * half / 1e9:.1f} GB." if kept == "int16" else ""
    raise UserError(
        f"data.keep_in_memory {kept} has no room: {count:,} training volumes × {each / 1e6:.1f} MB ="
        f" {count * each / 1e9:.1f} GB, but {free / 1e9:.1f} GB of this machine's memory are free, of which"
        f" {SHARE:.0%} may be taken.{fits} Leave the option out, or take a smaller data.size."
    )


def free_memory() -> int:
    """Return the bytes that this machine, or the container that this process is in, has free."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        files = [Path("/sys/fs/cgroup") / name for name in (limit, used, stat)]
        if all(map(Path.is_file, files)) and (most := files[0].read_text().strip()).isdigit():
            cached = dict(line.split()[:2] for line in files[2].read_text().splitlines())
            # pages of files that the system gives up when memory is asked for
            given_up = sum(int(cached.get(name, 0)) for name in ("inactive_file", "active_file"))
            free = min(free, int(most) - int(files[1].read_text()) + given_up)
    return max(0, free)


def _bytes_of(size: Size, kept: Kept) -> int:
    return int(np.prod(size)) * np.dtype(kept).itemsize
