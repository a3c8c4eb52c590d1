"""Checkpoints are written whole or not at all, and read without running code."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from bimcvr.atomic_files import replacing
from bimcvr.models.checkpoint import plain_numbers, read_checkpoint, refuse_not_finite, refuse_unreadable


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's writer goes through /tmp, which may be another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint whole or not at all."""
        refuse_unreadable(checkpoint.get("callbacks", {}), checkpoint["state_dict"])
        # through a stream: its errors tell a full disk
        with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
            torch.save(plain_numbers(checkpoint), stream)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; weights that are not finite are refused (UserError)."""
        content = read_checkpoint(Path(path), mmap=False)
        refuse_not_finite(Path(path), content["state_dict"])
        return content
