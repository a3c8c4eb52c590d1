"""The verb `curate`: from an archive to a manifest, each step a line of the configuration."""

import contextlib
import errno
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bimcvr.curation.anonymise.anonymiser import Anonymiser
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.decisions import Checks, SplitStep, table_of
from bimcvr.curation.pipeline.denoise import Denoise
from bimcvr.curation.pipeline.ingest import Recipe, Taken
from bimcvr.curation.pipeline.rows import Row, rows_of
from bimcvr.curation.pipeline.shards import Item, Parts, Share, Source, take_in_all
from bimcvr.curation.pipeline.step_log import write_changed, write_csv
from bimcvr.curation.pipeline.steps import Steps, TranslateStep, run_steps
from bimcvr.curation.study import SetAside
from bimcvr.errors import UserError
from bimcvr.extras import require_extra

if TYPE_CHECKING:
    from bimcvr.curation.audit.facts_cache import Measured


def curate(
    source: Source | None = None,
    out: Path | None = None,
    cache: tuple[int, int, int] | None = None,
    denoise: Denoise | None = None,
    anonymise: Anonymiser | None = None,
    translate: TranslateStep | None = None,
    checks: Checks | None = None,
    labels: LabelExtractor | None = None,
    review: Path | None = None,
    split: SplitStep | None = None,
    columns: dict[str, str] | None = None,
    shard: str | None = None,
    jobs: int = -1,
    scheduler: str | None = None,
) -> int:
    """Turn an archive into a manifest that one can trust. A step that is not named is off.

    Stop it and start it again at any time: what is done stays done, and a second run with nothing new changes no file.
    Nothing
    disappears: a row that is set aside stays in the manifest with its status and flags, and what is no row stands in
        set_aside.csv.

    Args:
        source: the archive's reader, by class_path, like bimcvr.curation.sources.bimcv_r.BimcvR.
        out: the folder for manifest, logs, review queue and cache.
        cache: keep each volume on the model's grid, like `[96, 224, 224]`; needed if the source deletes its volumes.
        denoise: a SimpleITK filter by name, written to a copy.
        anonymise: takes people out of the reports, by class_path.
        translate: makes Spanish reports English.
        checks: which flags reject a row, and which send it to a reviewer.
        labels: finds the labels of the reports, by class_path.
        review: the review queue, a CSV file in the out folder that people edit.
        split: divides the accepted rows.
        columns: further columns with the same text in every row.
        shard: `i/n` for the i-th of n jobs; when all are done, the same call without it joins their parts.
        jobs: processes to use; -1 for one a core.
        scheduler: the address of a Dask scheduler (tcp://…) whose workers do the work; they need the same disk.

    Returns:
        0, or 3 if something was set aside.

    Raises:
        UserError: source or out is not named, or nothing could be taken in.
    """
    if source is None or out is None:
        raise UserError(
            "curate needs a source and an out folder: name them in the file given as --config, or as --source and"
            " --out."
        )
    recipe = Recipe(Path(out), cache, denoise)
    if denoise:
        denoise.make()  # a wrong name is said before hours of work
    steps = Steps(anonymise, translate, checks, labels, review, split)
    share = _share(shard) if shard else None
    parts = Parts(recipe.out / "parts")
    began = time.perf_counter()
    with _workers(scheduler), _room(recipe.out):
        faults = parts.faults(source.faults())
        done = take_in_all(source, recipe, parts, share, jobs)
        if share:
            print(
                f"Job {shard} has taken in its share. When all are done, the same call without --shard makes the"
                " manifest."
            )
            _say_cost(done, began)
            return 0
        rows, aside = _unique([*faults, *parts.items()])
        measured = run_steps(rows, steps, recipe, jobs)
    code = _write(rows, measured, aside, recipe, columns or {})
    _say(rows, source, recipe)
    _say_cost(done, began)
    return code


def _unique(items: list[Item]) -> tuple[list[Row], list[SetAside]]:
    """Begin the rows, without those whose name cannot stand in a manifest or stands there already."""
    taken: dict[str, Taken] = {}
    aside = []
    for item in items:
        if isinstance(item, SetAside):
            aside.append(item)
            continue
        name = item.study.study_id
        if not f"{name}{item.volume}".isprintable():
            aside.append(SetAside(name, "bad_name", "The file's name holds characters of no encoding. Rename it."))
        elif name in taken:
            aside.append(
                SetAside(name, "duplicate_study", f"{item.volume} has the study_id of {taken[name].volume}. Keep one.")
            )
        else:
            taken[name] = item
    return rows_of(list(taken.values())), aside


def _write(
    rows: list[Row], measured: "list[Measured | None]", aside: list[SetAside], recipe: Recipe, columns: dict[str, str]
) -> int:
    spoilt = [(row.study_id, row.taken.refused, row.taken.message) for row in rows if row.taken.refused]
    spoilt += [
        (row.study_id, flag, "The row is in the manifest, rejected.")
        for row in rows
        for flag in row.flags
        if flag in ("missing_voxels", "missing_file") and row.status == "rejected" and not row.taken.refused
    ]
    lines = [*((item.name, item.reason, item.message) for item in aside), *spoilt]
    path = recipe.out / "set_aside.csv"
    write_csv(path, ("name", "reason", "message"), lines)
    if not rows:
        raise UserError(f"No study could be taken in. What was set aside stands with its reasons in {path}.")
    write_changed(
        recipe.out / "manifest.csv", table_of(rows, measured, columns).to_csv(index=False, lineterminator="\n")
    )
    if lines:
        print(f"{len(lines)} things were set aside, listed in {path}:")
        print(
            "".join(f"  {reason}: {count}\n" for reason, count in Counter(line[1] for line in lines).most_common()),
            end="",
        )
    return 3 if lines else 0


def _say(rows: list[Row], source: Source, recipe: Recipe) -> None:
    status = Counter(row.status for row in rows)
    flags = Counter(flag for row in rows for flag in row.flags)
    states = ", ".join(f"{status[name]} {name}" for name in ("ok", "review", "rejected"))
    print(f"{recipe.out / 'manifest.csv'}: {len(rows)} rows, {states}")
    print("flags: " + (", ".join(f"{name} {count}" for name, count in flags.most_common()) or "none"))
    passed = getattr(source, "passed_over", None)
    if passed:
        print(
            "no part of the archive's layout: " + ", ".join(f"{count} {kind}" for kind, count in passed.most_common(8))
        )
    gone = sum(not (recipe.out / row.taken.volume).exists() for row in rows)
    if gone and recipe.size:
        print(
            f"{gone} volumes are deleted: what is left of them is {recipe.out / 'cache'} on the grid"
            f" {list(recipe.size)}. Keep it, and train with this data.size."
        )


def _say_cost(studies: int, began: float) -> None:
    seconds = time.perf_counter() - began
    # in KiB on Linux; of the children that have ended the largest one
    own, worker = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{studies} studies gone through in {seconds:.1f} s, {studies / seconds:.1f} studies/s; peak memory"
        f" {own:.2f} GiB" + (f", of the largest worker {worker:.2f} GiB" if worker > own / 10 else "")
    )


def _share(text: str) -> Share:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: give i/n with i from 1 to n, like 2/8 for the second of eight jobs.")
    return int(match[1]), int(match[2])


@contextlib.contextmanager
def _room(out: Path) -> Iterator[None]:
    """Say in a word that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"The disk of {out} is full. Free some, or let the source delete what is taken in (keep); then run the same"
            " command again."
        ) from error


@contextlib.contextmanager
def _workers(scheduler: str | None) -> Iterator[None]:
    """Let joblib use a Dask cluster's workers, if one is named."""
    if scheduler is None:
        yield
        return
    require_extra("curate", "--scheduler")
    import joblib
    from distributed import Client

    try:
        client = Client(scheduler, timeout="20s")
    except OSError as error:
        raise UserError(
            f"There is no Dask scheduler at {scheduler}. Start one with `dask scheduler`, and workers with "
            f"`dask worker {scheduler}`."
        ) from error
    with client, joblib.parallel_config(backend="dask"):
        yield
