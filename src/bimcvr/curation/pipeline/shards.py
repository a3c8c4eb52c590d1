"""Ingesting an archive shard by shard: ingest a shard, record what it held, then let the source delete it.

The record of a shard is complete on disk before anything is deleted. A run that was killed reads the record, or ingests
the shard again from what `ingest` has stored.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol, cast

from rich.progress import Progress, TaskID

from bimcvr.curation.archives.file_tree import files_below, is_volume
from bimcvr.curation.archives.unpack import Keep, is_archive
from bimcvr.curation.pipeline.ingest import IngestedStudy, IngestSettings, ingest_study
from bimcvr.curation.pipeline.shard_records import Item, ShardRecords, shard_order
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.reading.refused import killed_reader
from bimcvr.errors import UserError
from bimcvr.parallel import WorkerKilled, progress_bar, run_tasks

Share = tuple[int, int]


class Source(Protocol):
    """A reader of an archive's layout: one of the classes in `bimcvr.curation`, or your own.

    A source of archive files larger than the disk also has `root` and `work` (folders) and `keep` (what stays on disk).
    """

    def shards(self) -> list[str]:
        """Return the names of the shards that are on disk; one empty name where there are no shards."""
        ...

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield what some shards hold, in a fixed order; nothing is deleted.

        Args:
            shards: the shards to read; None for everything, including the faults that concern no shard.
        """
        ...

    def release(self, shard: str) -> None:
        """Delete what need not stay on disk of a shard that has been ingested.

        Args:
            shard: the name of the shard; `studies` has read it before.
        """
        ...

    def faults(self) -> list[SetAside]:
        """Return what is set aside and concerns no shard."""
        ...


class _ArchiveSource(Protocol):
    """The further attributes of a source of archive files."""

    root: Path
    work: Path
    keep: Keep


def ingest_shards(
    source: Source, settings: IngestSettings, records: ShardRecords, share: Share | None = None, jobs: int = -1
) -> int:
    """Ingest the shards of a source that are on disk.

    Args:
        source: the archive.
        settings: what is made of each volume.
        records: where to record what each shard held.
        share: (i, n) to do the i-th of n shares: of the shards, or of the studies where there are fewer shards than n.
            A share of studies only stores what `ingest` makes, and releases nothing: the run without a share writes the
            records.
        jobs: processes to use; -1 for one a core.

    Returns:
        The number of studies processed.

    Raises:
        UserError: the source deletes its volumes, and no cache would be left to train on.
    """
    present = source.shards()
    # deleted shards count, else the shares would shift while the jobs of an array run
    all_shards = sorted({*present, *records.shards()}, key=shard_order)
    by_study = share is not None and len(all_shards) < share[1]
    if share is None or by_study:
        selected = present
    else:
        selected = [name for name in present if name in all_shards[share[0] - 1 :: share[1]]]
    deletes = getattr(source, "keep", "all") != "all"
    if deletes and settings.grid is None:
        raise UserError(
            "The source deletes its volumes (`keep`), and `cache` is off: nothing would be left to train on. Set cache"
            " to the model's grid, like [96, 224, 224], or set the source's keep to all."
        )
    count = 0
    with progress_bar("ingesting {task.description}") as progress:
        task = progress.add_task("", total=0)
        for shard in selected:
            identity = _identity(cast(_ArchiveSource, source), shard, present, settings) if deletes else ""
            if identity and records.identity(shard) == identity:
                continue
            progress.update(task, description=shard)
            entries = list(source.studies([shard]))
            if share is not None and by_study:
                entries = entries[share[0] - 1 :: share[1]]
            items, whole = _ingest_all(entries, settings, jobs, progress, task)
            count += sum(isinstance(item, IngestedStudy) for item in items)
            if by_study:
                continue
            records.write(shard, items)
            if not whole:
                continue  # what killed its reader may be read in another run, with more memory
            source.release(shard)
            if deletes:
                records.write(shard, items, identity)
    return count


def _ingest_all(
    entries: list[SourceStudy | SetAside], settings: IngestSettings, jobs: int, progress: Progress, task: TaskID
) -> tuple[list[Item], bool]:
    """Ingest the studies among some entries, in parallel.

    Returns:
        An item for each entry, in their order; and whether none of them killed the process that read it.
    """
    studies = [entry for entry in entries if isinstance(entry, SourceStudy)]
    progress.update(task, total=(progress.tasks[task].total or 0) + len(studies))
    tasks = {position: (study, settings) for position, study in enumerate(studies)}
    ingested: dict[int, Item] = {}
    killed = False
    for position, item in run_tasks(ingest_study, tasks, jobs, few=1):
        if isinstance(item, WorkerKilled):
            killed, refusal = True, killed_reader(studies[position].volume)
            item = SetAside(studies[position].study_id, refusal.reason, str(refusal))
        ingested[position] = item
        progress.advance(task)
    in_order = iter([ingested[position] for position in range(len(studies))])
    return [next(in_order) if isinstance(entry, SourceStudy) else entry for entry in entries], not killed


def _identity(source: _ArchiveSource, shard: str, shards: list[str], settings: IngestSettings) -> str:
    """Return text that changes when a shard must be ingested again: its archive and all tables by size and time."""
    others = {name for name in shards if name != shard}
    files = [file for file in files_below(source.root, source.work)[0] if not is_volume(file.name)]
    stats = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if not (is_archive(file) and others & {file.name, file.stem})
    ]
    return json.dumps([settings.identity, source.keep, stats])
