"""The dataset of studies: volume, views and text of a study, and their collation into batches."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from bimcvr.contracts import Batch
from bimcvr.data.cache.memory_copy import MemoryCopy
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.loading.cutmix import cutmix, draw_mix
from bimcvr.data.loading.device_views import RawBatch, finish
from bimcvr.data.loading.view_draws import draw_view
from bimcvr.data.loading.views import View, Window, apply_view, apply_window, to_bytes

TextSampler = Callable[[str, torch.Generator], str]


class StudyDataset(Dataset[dict[str, Any]]):
    """Studies of one split, from the cache.

    An index `position` gives the volume without augmentation (1, D, H, W) and the whole report, for evaluation. An
    index `(epoch, position)` gives the training views (V, 1, D, H, W) and a sampled text; their random draws depend on
    (seed, epoch, row) alone. With `on_device` both give the voxels as they are kept (D, H, W), and training what is
    drawn for each view, from which `device_views.finish` makes the same on the training device.

    Args:
        cache: the cache of volumes.
        rows: (N,) positions in the manifest.
        entries: N cache files, one for each row.
        reports: N texts.
        window: the HU that become 0 and 1.
        views: one or two TorchIO transforms for training; None leaves the volume unchanged.
        sampler: the text sampler for training.
        seed: of all random draws.
        on_device: leave window and views to the training device.
        memory: keeps the voxels once they are read; None reads them from the cache every time.
    """

    def __init__(
        self,
        cache: VolumeCache,
        rows: np.ndarray,
        entries: list[Path],
        reports: list[str],
        window: Window,
        views: list[View | None],
        sampler: TextSampler,
        seed: int,
        on_device: bool = False,
        memory: MemoryCopy | None = None,
    ) -> None:
        self.cache, self.rows, self.window, self.views, self.sampler, self.seed = (
            cache,
            rows,
            window,
            views,
            sampler,
            seed,
        )
        self.on_device, self.memory = on_device, memory
        # arrays, not lists: reference counts of list items would copy memory pages into every worker
        self._entries = np.array([str(entry) for entry in entries], dtype=np.str_)
        self._reports = np.array([report.encode() for report in reports], dtype=object)

    def __len__(self) -> int:
        return len(self.rows)

    def reports(self) -> list[str]:
        """Return the whole reports of all studies, in order."""
        return [report.decode() for report in self._reports]

    def spacing(self, position: int) -> tuple[float, float, float]:
        """Return the voxel size of a study in mm along (D, H, W)."""
        return self.cache.read(Path(self._entries[position])).spacing

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        epoch, position = item if isinstance(item, tuple) else (None, item)
        row = int(self.rows[position])
        voxels, spacing = self._voxels(position)
        report = self._reports[position].decode()
        if epoch is None:
            return {**self._whole(voxels), "text": report, "index": row}
        seeds = [derive_seed(self.seed, epoch, row, number) for number in range(len(self.views))]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, row, "text"))
        text = self.sampler(report, generator)
        both = list(zip(self.views, seeds, strict=True))
        if self.on_device:
            draws = [draw_view(view, self.cache.size, spacing, seed) for view, seed in both]
            return {"voxels": torch.from_numpy(voxels), "draws": draws, "text": text, "index": row}
        volume = apply_window(voxels, self.window)
        views = [apply_view(volume, spacing, view, seed)[None] for view, seed in both]
        return {"views": torch.stack(views), "text": text, "index": row}

    def sample(self, item: int | tuple[int, int]) -> Batch:
        """Return a study as a model gets it, in a batch of one.

        Args:
            item: as for an index.
        """
        batch = Collate()([self[item]])
        return finish(cast(RawBatch, batch), self.window) if self.on_device else cast(Batch, batch)

    def _whole(self, voxels: np.ndarray) -> dict[str, torch.Tensor]:
        if self.on_device:
            return {"voxels": torch.from_numpy(voxels)}
        return {"volume": apply_window(voxels, self.window)[None]}

    def _voxels(self, position: int) -> tuple[np.ndarray, tuple[float, float, float]]:
        """Return the voxels (D, H, W), int16 HU or as they are kept in memory, and their size in mm."""
        if self.memory is not None and (kept := self.memory.read(position)):
            return kept
        cached = self.cache.read(Path(self._entries[position]))
        if self.memory is None:
            return cached.hu, cached.spacing
        # also at the first time the rounded ones: an epoch does not depend on what was read before
        voxels = to_bytes(cached.hu, self.window) if self.memory.kept == "uint8" else cached.hu
        self.memory.keep(position, voxels, cached.spacing)
        return voxels, cached.spacing


class Collate:
    """Turn samples into a batch, with cutmix for a share of the training batches.

    Args:
        cutmix_probability: share of the training batches; 0 for none.
        seed: of the draws, together with the rows of the batch.
    """

    def __init__(self, cutmix_probability: float = 0.0, seed: int = 0) -> None:
        self.cutmix_probability = cutmix_probability
        self.seed = seed

    def __call__(self, samples: list[dict[str, Any]]) -> Batch | RawBatch:
        """Collate samples; all are from training or all from evaluation."""
        batch: dict[str, Any] = {
            "text": [sample["text"] for sample in samples],
            "index": torch.tensor([sample["index"] for sample in samples], dtype=torch.int64),
        }
        for name in ("volume", "views", "voxels"):
            if name in samples[0]:
                batch[name] = default_collate([sample[name] for sample in samples])  # in workers, into shared memory
        if "draws" in samples[0]:
            batch["draws"] = [sample["draws"] for sample in samples]
        if self.cutmix_probability and not _is_whole(samples[0]):
            generator = torch.Generator().manual_seed(derive_seed(self.seed, *batch["index"].tolist()))
            if float(torch.rand((), generator=generator)) < self.cutmix_probability:
                return _mixed(batch, generator)
        return cast(Batch, batch)


def _is_whole(sample: dict[str, Any]) -> bool:
    return "views" not in sample and "draws" not in sample


def _mixed(batch: dict[str, Any], generator: torch.Generator) -> Batch | RawBatch:
    if "views" in batch:
        return cutmix(cast(Batch, batch), generator)
    mix, kept = draw_mix(len(batch["voxels"]), batch["voxels"].shape[1:], generator)
    return cast(RawBatch, {**batch, "mix": mix, "partner": torch.tensor(mix.partner), "kept": kept})


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on `parts` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
