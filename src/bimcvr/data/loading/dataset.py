"""The dataset of studies: volume, views and text of a study, and their collation into batches."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bimcvr.contracts import Batch
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.loading.cutmix import cutmix
from bimcvr.data.loading.views import View, Window, apply_view, apply_window

TextSampler = Callable[[str, torch.Generator], str]


class StudyDataset(Dataset[dict[str, Any]]):
    """Studies of one split, from the cache.

    An index `position` gives the volume without augmentation (1, D, H, W) and the whole report, for evaluation. An
    index `(epoch, position)` gives the training views (V, 1, D, H, W) and a sampled text; their random draws depend on
    (seed, epoch, row) alone.

    Args:
        cache: the cache of volumes.
        rows: (N,) positions in the manifest.
        entries: N cache files, one for each row.
        reports: N texts.
        window: the HU that become 0 and 1.
        views: one or two TorchIO transforms for training; None leaves the volume unchanged.
        sampler: the text sampler for training.
        seed: of all random draws.
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
    ) -> None:
        self.cache, self.rows, self.window, self.views, self.sampler, self.seed = (
            cache,
            rows,
            window,
            views,
            sampler,
            seed,
        )
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
        cached = self.cache.read(Path(self._entries[position]))
        volume = apply_window(cached.hu, self.window)
        report = self._reports[position].decode()
        if epoch is None:
            return {"volume": volume[None], "text": report, "index": row}
        views = [
            apply_view(volume, cached.spacing, view, derive_seed(self.seed, epoch, row, number))[None]
            for number, view in enumerate(self.views)
        ]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, row, "text"))
        return {"views": torch.stack(views), "text": self.sampler(report, generator), "index": row}


class Collate:
    """Turn samples into a batch, with cutmix for a share of the training batches.

    Args:
        cutmix_probability: share of the training batches; 0 for none.
        seed: of the draws, together with the rows of the batch.
    """

    def __init__(self, cutmix_probability: float = 0.0, seed: int = 0) -> None:
        self.cutmix_probability = cutmix_probability
        self.seed = seed

    def __call__(self, samples: list[dict[str, Any]]) -> Batch:
        """Collate samples; all are from training or all from evaluation."""
        batch: Batch = {
            "text": [sample["text"] for sample in samples],
            "index": torch.tensor([sample["index"] for sample in samples], dtype=torch.int64),
        }
        if "volume" in samples[0]:
            batch["volume"] = torch.stack([sample["volume"] for sample in samples])
            return batch
        batch["views"] = torch.stack([sample["views"] for sample in samples])
        if self.cutmix_probability:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, *batch["index"].tolist()))
            if float(torch.rand((), generator=generator)) < self.cutmix_probability:
                return cutmix(batch, generator)
        return batch


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on `parts` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
