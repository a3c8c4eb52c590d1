"""Going through an archive shard by shard.

Take a shard in, write down what it held, then delete what is not to be kept.

What a shard held stands in a file of its own, written whole before anything is deleted. A run that was killed reads it,
or takes the shard in again from what `intake` kept.
"""

import copy
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote, unquote

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bimcvr.curation.archives.archives import Keep, is_archive
from bimcvr.curation.archives.file_tree import files_below, is_volume
from bimcvr.curation.pipeline.ingest import Recipe, Taken, take_in
from bimcvr.curation.pipeline.step_log import write_changed
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.errors import UserError

Item = Taken | SetAside
Share = tuple[int, int]


class Source(Protocol):
    """A reader of an archive's layout: one class of `bimcvr.curation.sources`, or your own."""

    def shards(self) -> list[str]:
        """Return the names of the shards that are there; one empty name where there are none."""
        ...

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield what some shards hold, in a fixed order."""
        ...

    def faults(self) -> list[SetAside]:
        """Return what is set aside and concerns no shard."""
        ...


class _Deleting(Protocol):
    """What a source of archives has besides."""

    root: Path
    work: Path
    keep: Keep


@dataclass(frozen=True)
class Parts:
    """The folder with a file a shard.

    Attributes:
        folder: it holds the reports as the archive has them, so it is as private as the archive.
    """

    folder: Path

    def write(self, shard: str, items: Iterable[Item], identity: str = "") -> None:
        """Write down what a shard held; `identity` once what is not to be kept of it is deleted."""
        lines: list[dict[str, Any]] = [{"shard": shard, "identity": identity}]
        lines += [{"taken": item.to_json()} if isinstance(item, Taken) else {"aside": asdict(item)} for item in items]
        write_changed(self._path(shard), "".join(json.dumps(line) + "\n" for line in lines))

    def identity(self, shard: str) -> str:
        """Return what was written with a shard; empty if it was not taken in to the end."""
        path = self._path(shard)
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8") as stream:
            return str(json.loads(stream.readline())["identity"])

    def items(self) -> list[Item]:
        """Return what all shards held, also those whose archive is gone, in the order of their names."""
        lines = (self._path(shard).read_text(encoding="utf-8").splitlines()[1:] for shard in self.shards())
        return [_item(json.loads(line)) for part in lines for line in part]

    def shards(self) -> list[str]:
        """Return the names of the shards that were written down."""
        return sorted(
            (unquote(path.stem.removeprefix("shard-")) for path in self.folder.glob("shard-*.jsonl")), key=_by_name
        )

    def faults(self, current: Iterable[SetAside]) -> list[SetAside]:
        """Return the source's faults, but not that a volume is missing which was taken in and has been deleted since.

        In the place of such a one stands what was said of the same line before the deletion, if anything.
        """
        path = self.folder / "faults.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        before = {item.name: item for item in (SetAside(**json.loads(line)) for line in lines)}
        taken = {item.study.volume.name for item in self.items() if isinstance(item, Taken)}
        kept = []
        for fault in current:
            if fault.reason != "missing_file" or not taken.intersection(
                word.strip(",.;") for word in fault.message.split()
            ):
                kept.append(fault)
            elif fault.name in before and before[fault.name].reason != "missing_file":
                kept.append(before[fault.name])
        write_changed(path, "".join(json.dumps(asdict(fault)) + "\n" for fault in kept))
        return kept

    def _path(self, shard: str) -> Path:
        return self.folder / f"shard-{quote(shard, safe='')}.jsonl"


def take_in_all(source: Source, recipe: Recipe, parts: Parts, share: Share | None = None, jobs: int = -1) -> int:
    """Take in the shards of a source that are there.

    Args:
        source: the archive.
        recipe: what is made of each volume.
        parts: where to write down what a shard held.
        share: (i, n) to do the i-th of n shares: of the shards, or of the studies where there are fewer shards than n.
            A share of studies only fills what `intake` keeps, and deletes nothing: the run without a share writes the
            shards down.
        jobs: processes to use; -1 for one a core.

    Returns:
        How many studies were gone through.
    """
    shards = source.shards()
    # those that are deleted count, else the shares would shift while the jobs run
    all_shards = sorted({*shards, *parts.shards()}, key=_by_name)
    by_study = share is not None and len(all_shards) < share[1]
    mine = (
        shards
        if share is None or by_study
        else [name for name in shards if name in all_shards[share[0] - 1 :: share[1]]]
    )
    deletes = getattr(source, "keep", "all") != "all"
    if deletes and recipe.size is None:
        raise UserError(
            "The source deletes its volumes (`keep`), and `cache` is off: nothing would be left to train on. Give the"
            " model's grid as cache, like [96, 224, 224], or set the source's keep to all."
        )
    done = 0
    with Progress(
        TextColumn("taking in {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        task = progress.add_task("", total=0)
        for shard in mine:
            identity = _identity(cast(_Deleting, source), shard, shards, recipe) if deletes else ""
            if identity and parts.identity(shard) == identity:
                continue
            progress.update(task, description=shard)
            found = list(_keeping_all(source).studies([shard]))
            if share is not None and by_study:
                found = found[share[0] - 1 :: share[1]]
            items = _take_in(found, recipe, jobs, progress, task)
            done += sum(isinstance(item, Taken) for item in items)
            if by_study:
                continue
            parts.write(shard, items)
            if deletes:
                # gone through once more, at no cost, for what the source does at a shard's end; a copy, so that nothing
                # counts twice
                for _ in copy.deepcopy(source).studies([shard]):
                    pass
                parts.write(shard, items, identity)
    return done


def _take_in(
    found: list[SourceStudy | SetAside], recipe: Recipe, jobs: int, progress: Progress, task: TaskID
) -> list[Item]:
    from joblib import Parallel, delayed

    studies = [item for item in found if isinstance(item, SourceStudy)]
    progress.update(task, total=(progress.tasks[task].total or 0) + len(studies))
    work = (delayed(take_in)(study, recipe) for study in studies)
    taken: list[Taken] = []
    for item in Parallel(n_jobs=jobs if len(studies) > 1 else 1, return_as="generator")(work):
        taken.append(item)
        progress.advance(task)
    results = iter(taken)
    return [next(results) if isinstance(item, SourceStudy) else item for item in found]


def _keeping_all(source: Source) -> Source:
    """Return the source such that it deletes nothing: what it yields is still to be read when it has gone on."""
    reader = copy.copy(source)
    if hasattr(reader, "keep"):
        cast(_Deleting, reader).keep = "all"
    return reader


def _identity(source: _Deleting, shard: str, shards: list[str], recipe: Recipe) -> str:
    """Return what tells a shard that has been taken in from a changed one.

    Its archive and all tables, by size and time.
    """
    others = {name for name in shards if name != shard}
    files = [file for file in files_below(source.root, source.work)[0] if not is_volume(file.name)]
    stats = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if not (is_archive(file) and others & {file.name, file.stem})
    ]
    return json.dumps([recipe.identity, source.keep, stats])


def _by_name(shard: str) -> tuple[int, str]:
    return len(shard), shard


def _item(line: dict[str, Any]) -> Item:
    return Taken.from_json(line["taken"]) if "taken" in line else SetAside(**line["aside"])
