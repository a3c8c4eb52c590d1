"""A frozen volume encoder that sees each volume once: its features are kept on disk, for training heads on them."""

import dataclasses
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bimcvr.atomic_files import replacing
from bimcvr.contracts import DataGrid, Features, HasReceipt, TakesGrid, VolumeEncoder
from bimcvr.models.pretrained.frozen import Frozen, with_hidden


class CachedFeatures(VolumeEncoder):
    """Freezes a volume encoder and computes each volume's features once, however many epochs, seeds and runs see it.

    A volume is recognised by its voxels, an encoder by its class, weights and settings. Each volume is encoded alone,
    in float32, so that its features do not depend on the batch. Tokens are reduced to one, their mean: enough for a
    head over `FirstView`. Training views would make every epoch's volumes new ones, so `fit` refuses them.

    Args:
        encoder: any volume encoder; it is not trained.
        folder: where features are kept; several runs and processes may share it.
    """

    def __init__(self, encoder: nn.Module, folder: Path = Path("cache/features")) -> None:
        super().__init__()
        self._frozen = Frozen(encoder)
        self.dim = cast(int, encoder.dim)
        self.folder = folder
        self._grid: DataGrid | None = None
        self._kept: dict[str, Tensor] = {}  # (2, C): cls and the mean token

    @property
    def encoder(self) -> nn.Module:
        """The frozen encoder."""
        return self._frozen.tower

    @property
    def source(self) -> str:
        """The encoder's name and the source of its weights, as results state them."""
        name, source = type(self.encoder).__name__, getattr(self.encoder, "source", "")
        return f"frozen {name}, {source}" if source else f"frozen {name}"

    def accept_grid(self, grid: DataGrid) -> None:
        """Be told what the volumes are like: the same voxels of another window are other volumes.

        Raises:
            UserError: the encoder was made for another grid.
        """
        self._grid = grid
        self.__dict__.pop("identity", None)
        if isinstance(self.encoder, TakesGrid):
            self.encoder.accept_grid(grid)

    @cached_property
    def identity(self) -> str:
        """A hash of the encoder: its structure with all settings that it prints, its weights, and the data's grid."""
        digest = hashlib.blake2b(str(self._grid).encode(), digest_size=12)
        for module in with_hidden(self.encoder):
            settings = {name: value for name, value in vars(module).items() if not name.startswith("_")}
            plain = {name: value for name, value in settings.items() if name != "training" and _is_plain(value)}
            if isinstance(module, HasReceipt):
                digest.update(json.dumps(module.receipt(), sort_keys=True, default=str).encode())
            digest.update(f"{type(module).__module__}.{type(module).__qualname__} {sorted(plain.items())}".encode())
            for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def forward(self, volume: Tensor) -> Features:
        """Look up or compute the features of volumes (B, 1, D, H, W) → cls (B, C) and one token (B, 1, C)."""
        features = torch.stack([self._features_of(one) for one in volume.detach()]).to(volume.device)
        return Features(features[:, 0], features[:, 1:])

    def _features_of(self, volume: Tensor) -> Tensor:
        voxels = volume.float().cpu().contiguous().numpy()
        key = hashlib.blake2b(voxels.tobytes(), digest_size=16).hexdigest()
        if key not in self._kept:
            path = self.folder / self.identity / f"{key}.safetensors"
            features = self._read(path)
            if features is None:
                features = self._compute(volume)
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    save_file({"features": features}, temporary)
            self._kept[key] = features
        return self._kept[key]

    def _compute(self, volume: Tensor) -> Tensor:
        with torch.autocast(volume.device.type, enabled=False):
            cls, tokens = self._frozen(volume[None].float())
        return torch.cat([cls, tokens.mean(1)]).float().cpu()

    def _read(self, path: Path) -> Tensor | None:
        """Return kept features; None where there are none, or none that can be read."""
        try:
            with safe_open(path, framework="pt") as stream:
                features = stream.get_tensor("features")
        except (FileNotFoundError, SafetensorError):
            return None
        fits = features.shape == (2, self.dim) and features.dtype == torch.float32 and bool(features.isfinite().all())
        return features if fits else None


def _is_plain(value: object) -> bool:
    """Say whether a setting prints the same in every process: numbers, text, and tuples or dataclasses of them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(_is_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
