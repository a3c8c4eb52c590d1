"""The Lightning data module: from a manifest to loaders, with split, cache, views and text sampling."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from bimcvr.contracts import Batch, DataGrid, Gallery, Probe
from bimcvr.data.cache.cut_lungs import CutLungs, cut_lungs
from bimcvr.data.cache.fill import default_folder, describe_refused, fill_cache, refuse_volumes, refused_unread
from bimcvr.data.cache.memory_copy import Kept, MemoryCopy
from bimcvr.data.cache.volume_cache import VolumeCache
from bimcvr.data.evaluation_rows import counterfactual_probes, evaluation_gallery
from bimcvr.data.hu.model_grid import Centre, ModelGrid
from bimcvr.data.hu.placement import Placement
from bimcvr.data.loading.dataset import Collate, StudyDataset, TextSampler
from bimcvr.data.loading.device_views import RawBatch, finish
from bimcvr.data.loading.processes import loader_settings, shared_memory
from bimcvr.data.loading.sampler import EpochSampler
from bimcvr.data.loading.view_checks import check_views_and_sampler
from bimcvr.data.loading.view_draws import refuse_without_twin
from bimcvr.data.loading.views import View, refuse_left_right_flip
from bimcvr.data.manifest import read_manifest, write_manifest
from bimcvr.data.places import Place, places_of
from bimcvr.data.reading.grid import MAX_VOXELS, GridRules, NiftiForm
from bimcvr.data.reading.resample import place
from bimcvr.data.splits import SplitAssignment, Strategy, assign_splits
from bimcvr.data.text.samplers import HeadSampler
from bimcvr.data.trained_rows import TrainedRows, describe_seen, report_hashes
from bimcvr.errors import UserError
from bimcvr.processes.socket_folder import keep_socket_paths_short

SplitName = Literal["train", "val", "test", "all"]


class CTReportDataModule(LightningDataModule):
    """CT volumes and their reports, from a manifest.

    Args:
        manifest: the CSV file: one row a volume, with study_id, volume and report.
        root: the folder that the `volume` column is relative to; the manifest's own by default.
        cache: the folder of volumes on the model's grid; `cache` beside the manifest by default.
        size: the model's grid: slices, rows, columns.
        spacing: mm from slice to slice, row to row and column to column, like `[3, 1.5, 1.5]`: volumes are resampled to
            it, and cropped or padded with air to the size; by default the whole volume is resized to the size.
        centre: what the middle of a grid with a spacing is laid on: the middle of the volume, or the body.
        window: the HU that become 0 and 1.
        strategy: how studies are divided: patient_hash, exact (the paper's), row_order, shard or column; by default the
            manifest's `split` column, and patient_hash for rows where it is empty.
        split_seed: the permutation of exact, the salt of patient_hash.
        fractions: wanted shares of train, val and test.
        allow_patient_overlap: let a `split` column put one patient into two splits; every result then says so.
        skip_refused: skip unreadable volumes, with their reasons in the run's manifest, instead of stopping.
        view_1: the first training view A1, a TorchIO transform; none by default.
        view_2: the second training view A2.
        two_views: whether training uses two views (the paper) or one.
        text_sampler: which words of a report are read in training; all by default, and always all in evaluation.
        cutmix: share of the training batches that are mixed.
        batch_size: studies in a batch, for each process.
        eval_batch_size: the same in evaluation.
        num_workers: processes that load data.
        read_ahead: batches that each of them keeps ready.
        views_on_device: send the volumes as int16 and make window, views and cutmix on the training device; the views
            may then be RandomAffine, RandomNoise and Compose of them.
        keep_in_memory: keep the training volumes in memory once they are read, shared by all processes: as int16, or as
            uint8 in half of it, rounded to 255 steps of the window.
        seed: of shuffling, views, text sampling and cutmix.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one.
        max_voxels: larger volumes are refused.
    """

    def __init__(
        self,
        manifest: str,
        root: str | None = None,
        cache: str | None = None,
        size: tuple[int, int, int] = (96, 224, 224),
        spacing: tuple[float, float, float] | None = None,
        centre: Centre = "volume",
        window: tuple[float, float] = (-1000.0, 1000.0),
        strategy: Strategy | None = None,
        split_seed: int = 0,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        allow_patient_overlap: bool = False,
        skip_refused: bool = False,
        view_1: View | None = None,
        view_2: View | None = None,
        two_views: bool = True,
        text_sampler: TextSampler | None = None,
        cutmix: float = 0.0,
        batch_size: int = 4,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        read_ahead: int = 2,
        views_on_device: bool = False,
        keep_in_memory: Kept | None = None,
        seed: int = 0,
        nifti_form: NiftiForm = "auto",
        max_voxels: int = MAX_VOXELS,
    ) -> None:
        super().__init__()
        for name, view in (("data.view_1", view_1), ("data.view_2", view_2)):
            refuse_left_right_flip(name, view)
            if views_on_device:
                refuse_without_twin(name, view)
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("read_ahead", read_ahead, 1),
        ):
            if value < least:
                raise UserError(f"data.{name} is {value}: it must be {least} or more.")
        if num_workers:
            keep_socket_paths_short()
        if not 0 <= cutmix <= 1:
            raise UserError(f"data.cutmix is {cutmix}: it is the share of the batches that are mixed, from 0 to 1.")
        if not window[0] < window[1]:
            raise UserError(
                f"data.window is {list(window)}: the first HU must be below the second, as in [-1000, 1000]."
            )
        self.window, self.cutmix, self.seed = window, cutmix, seed
        self.views: list[View | None] = [view_1, view_2] if two_views else [view_1]
        self.text_sampler: TextSampler = text_sampler or HeadSampler()
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.views_on_device, self.keep_in_memory, self.read_ahead = views_on_device, keep_in_memory, read_ahead
        self._memory: MemoryCopy | None = None
        self.skip_refused = skip_refused
        self.manifest = read_manifest(manifest, root)
        self._split_arguments = (strategy, split_seed, fractions, allow_patient_overlap)
        self.split = SplitAssignment([""] * len(self.manifest), "none", None)
        folder = Path(cache) if cache else default_folder(self.manifest)
        self.cache = VolumeCache(folder, ModelGrid(size, spacing, centre), GridRules(nifti_form, max_voxels))
        self._source_digest = self.manifest.digest
        self._entries: dict[int, Path] = {}
        self._refused: dict[int, str] = {}
        self._epochs_done = 0
        self._filled = False
        self.known_rows: TrainedRows | None = None

    @property
    def grid(self) -> DataGrid:
        """What every volume is made into, as an encoder that reads one grid only is told."""
        return DataGrid(self.cache.size, self.cache.grid.spacing, self.window)

    def prepare_data(self) -> None:
        """Fill the cache; Lightning calls this in one process of each machine."""
        self._fill(jobs=-1)

    def divide(self) -> None:
        """Divide the manifest into train, val and test; no volume is read."""
        self.split = assign_splits(self.manifest, *self._split_arguments)

    def look_ahead(self) -> int:
        """Look at the volumes' files without decoding them, and divide the rows that are left; nothing is written.

        Returns:
            How many of the volumes are in the cache already.

        Raises:
            UserError: volumes cannot be used and `skip_refused` is off.
        """
        self.divide()
        refused, kept = refused_unread(self.manifest, self.manifest.accepted(), self.cache)
        refuse_volumes(self.manifest, refused, self.skip_refused)
        self.split = self.split.without(refused)
        return kept

    def setup(self, stage: str) -> None:
        """Divide the manifest, find the cached volumes, and skip refused ones or stop.

        Args:
            stage: fit, validate, test or predict.

        Raises:
            UserError: volumes were refused and `skip_refused` is off, or a needed split is empty.
        """
        if stage != "predict":
            self.divide()
        self._fill(jobs=1)
        refuse_volumes(self.manifest, self._refused, self.skip_refused)
        self._set_refused_aside()
        if cut := self._lungs.describe(self.manifest):
            rank_zero_warn(cut)
        if stage == "predict":
            return
        if stage == "fit":
            check_views_and_sampler(self.views, self.text_sampler, self.cache.grid)
            if self.keep_in_memory:
                count = len(self.split.rows("train"))
                self._memory = shared_memory(MemoryCopy(count, self.cache.size, self.keep_in_memory))
        rank_zero_info(f"split {self.split.strategy}: {self.split.shares()}")
        if self.split.patient_overlap:
            rank_zero_warn(f"{self.split.patient_overlap} patients are in more than one split ({self.split.strategy}).")
        wanted = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        for name in wanted:
            self.split.refuse_empty(name, self.manifest.path)

    def state_dict(self) -> dict[str, Any]:
        """Return how many epochs are done, which rows were trained on and with what labels, for the checkpoint."""
        trained = self._own_rows.joined(self.known_rows)
        return {
            "epochs_done": self.trainer.current_epoch + 1 if self.trainer else 0,
            "trained_rows": {name: torch.from_numpy(hashes) for name, hashes in trained.arrays().items()},
            "labels": {"from": self.manifest.labels_from, "digest": self.manifest.labels_digest},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the epochs that are done: Lightning tells the sampler too late, when workers already fetch."""
        self._epochs_done = int(state_dict["epochs_done"])
        self.load_trained_rows(state_dict)

    def load_trained_rows(self, state_dict: dict[str, Any]) -> None:
        """Learn from a checkpoint's state which rows its model was trained on, if it has them."""
        if hashes := state_dict.get("trained_rows"):
            self.known_rows = TrainedRows.from_arrays({name: value.numpy() for name, value in hashes.items()})

    def seen(self, rows: np.ndarray) -> np.ndarray | None:
        """Say of rows (N,) what the model has seen of them (`bimcvr.data.trained_rows`); None without a checkpoint."""
        return None if self.known_rows is None else self.known_rows.seen(self.manifest, rows, self._volumes(rows))

    def report_hashes(self, rows: np.ndarray) -> np.ndarray:
        """Return the hashes (N,) int64 of the reports of rows (N,), by which a file of embeddings names its texts."""
        reports = self.manifest.column("report")
        return report_hashes(reports[row] for row in rows)

    def namesakes(self, rows: np.ndarray, seen: np.ndarray | None) -> int:
        """Count those of some rows (N,) that have names of trained rows, and are held to be of another archive."""
        return 0 if self.known_rows is None or seen is None else self.known_rows.namesakes(self.manifest, rows, seen)

    def save_split(self, folder: Path, verb: str) -> None:
        """Write the manifest with its split and its refused rows into the folder of a run.

        `manifest.csv` is what the run was trained on. A later command with other rows or another split writes
        `manifest_<verb>.csv`.

        Args:
            folder: of the run.
            verb: fit, validate or test.
        """
        table = self.manifest.with_column("split", self.split.names).table
        trained, later = folder / "manifest.csv", folder / f"manifest_{verb}.csv"
        if verb == "fit" or not trained.is_file():
            write_manifest(table, trained)
        elif trained.read_bytes() != table.to_csv(index=False, lineterminator="\n").encode():
            write_manifest(table, later)
        else:
            later.unlink(missing_ok=True)

    def train_dataset(self) -> StudyDataset:
        """Return the studies of `train` in the order of the manifest."""
        return self._dataset(self.split.rows("train"), self._memory)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches of sampled texts and views."""
        dataset = self.train_dataset()
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        if len(dataset) < self.batch_size * world:
            raise UserError(
                f"A batch of {self.batch_size} studies for each of {world} processes is larger than the training set "
                f"({len(dataset)} studies). Set data.batch_size to {max(1, len(dataset) // world)} or less."
            )
        sampler = EpochSampler(dataset, world, rank, self.seed)
        sampler.set_epoch(self._epochs_done)
        collate = Collate(self.cutmix, self.seed)
        return DataLoader(
            dataset, batch_size=self.batch_size, sampler=sampler, collate_fn=collate, drop_last=True, **self._loading()
        )

    def on_after_batch_transfer(self, batch: Batch | RawBatch, dataloader_idx: int) -> Batch:
        """Make window, views and cutmix of a batch that was sent to the device without them.

        Args:
            batch: on the device.
            dataloader_idx: there is one loader only.
        """
        if "voxels" not in batch:
            return batch
        finished = finish(cast(RawBatch, batch), self.window)
        # to the precision that Lightning has given the batches of other loaders before the transfer
        return cast(Batch, self.trainer.precision_plugin.convert_input(finished) if self.trainer else finished)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the studies of `val` in the order of the manifest."""
        return self._eval_dataloader(self.split.rows("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the studies of `test` in the order of the manifest."""
        return self._eval_dataloader(self.split.rows("test"))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return all accepted studies, whatever their split, in the order of the manifest."""
        return self._eval_dataloader(self._usable())

    def gallery(self, split: SplitName) -> Gallery:
        """Return the queries and the gallery of an evaluation.

        Args:
            split: train, val, test or all.
        """
        gallery = evaluation_gallery(self.manifest, self._rows(split), self.split, split)
        # rows refused in this run have changed the table; the identity of the manifest stays that of its file
        facts: dict[str, object] = {
            "manifest_hash": self._source_digest,
            "set_aside": len(self._refused),
            **self.cache.grid.facts(),
            "window_hu": list(self.window),
            "nifti_form": self.cache.rules.nifti_form,
        }
        seen = self.seen(gallery.rows)
        if self.cache.grid.spacing is not None:
            facts["lungs_cut"] = self._lungs.only(gallery.rows.tolist()).facts()
        if seen is not None and seen.any():
            facts["trained_on"] = describe_seen(seen)
        if namesakes := self.namesakes(gallery.rows, seen):
            facts["namesakes"] = namesakes
        return replace(gallery, description={**gallery.description, **facts})

    def probes(self, split: SplitName) -> list[Probe]:
        """Return the reports of a split with one thing changed, for counterfactual probes.

        Args:
            split: train, val, test or all.
        """
        return counterfactual_probes(self.manifest, self._rows(split))

    def places(self, row: int) -> list[Place]:
        """Return where the findings of a row of the manifest are; empty where it does not say."""
        return places_of(self.manifest, row)

    def placement(self, row: int) -> Placement:
        """Return where a row's volume lies in the patient and on the model's grid."""
        return place(self.manifest.volume_path(row), self.cache.grid, self.cache.rules)

    def _rows(self, split: SplitName) -> np.ndarray:
        return self._usable() if split == "all" else self.split.rows(split)

    @functools.cached_property
    def _own_rows(self) -> TrainedRows:
        return TrainedRows.of(self.manifest, self.split.names, self._volumes(self.split.rows("train")))

    @functools.cached_property
    def _lungs(self) -> CutLungs:
        return cut_lungs(self.cache, self._entries)

    def _volumes(self, rows: np.ndarray) -> dict[int, str]:
        """Return the identity of the voxels of cached rows."""
        return {row: self.cache.identity(self._entries[row]) for row in rows.tolist() if row in self._entries}

    def _usable(self) -> np.ndarray:
        return np.asarray([row for row in self.manifest.accepted() if row in self._entries], dtype=np.int64)

    def _fill(self, jobs: int) -> None:
        if self._filled:  # the process that prepared the data need not identify every source file again, which is slow
            return
        self._filled = True
        self._entries, self._refused = fill_cache(
            self.manifest, self.manifest.accepted(), self.cache, jobs, option="data.cache of the configuration"
        )

    def _set_refused_aside(self) -> None:
        if not self._refused:
            return
        rank_zero_warn(f"{len(self._refused)} volumes are skipped:\n{describe_refused(self.manifest, self._refused)}")
        status, flags = list(self.manifest.column("status")), list(self.manifest.column("flags"))
        for row, reason in self._refused.items():
            status[row] = "rejected"
            flags[row] = ";".join(filter(None, [flags[row], reason.split(": ", 1)[0]]))
        self.split = self.split.without(self._refused)
        self.manifest = self.manifest.with_column("status", status).with_column("flags", flags)

    def _dataset(self, rows: np.ndarray, memory: MemoryCopy | None = None) -> StudyDataset:
        reports = self.manifest.column("report")
        return StudyDataset(
            self.cache,
            rows,
            [self._entries[row] for row in rows.tolist()],
            [reports[row] for row in rows],
            self.window,
            self.views,
            self.text_sampler,
            self.seed,
            self.views_on_device,
            memory,
        )

    def _eval_dataloader(self, rows: np.ndarray) -> DataLoader[Any]:
        return DataLoader(self._dataset(rows), batch_size=self.eval_batch_size, collate_fn=Collate(), **self._loading())

    def _loading(self) -> dict[str, Any]:
        device = self.trainer.strategy.root_device.type if self.trainer else None
        return loader_settings(self.num_workers, self.read_ahead, device)
