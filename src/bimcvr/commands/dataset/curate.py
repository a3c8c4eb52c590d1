"""The command `curate`: from an archive to a manifest, with a line of the configuration for each step."""

import contextlib
import errno
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bimcvr.commands.stdout import say
from bimcvr.curation.anonymise.anonymiser import Anonymiser
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.decisions import Checks, SplitStep, manifest_table
from bimcvr.curation.pipeline.denoise import Denoise
from bimcvr.curation.pipeline.ingest import IngestedStudy, IngestSettings
from bimcvr.curation.pipeline.region_texts import write_regions
from bimcvr.curation.pipeline.row import CurationRow, start_rows
from bimcvr.curation.pipeline.shard_records import Item, ShardRecords
from bimcvr.curation.pipeline.shards import Share, Source, ingest_shards
from bimcvr.curation.pipeline.step_log import write_changed, write_csv
from bimcvr.curation.pipeline.steps import Steps, TranslateStep, run_steps
from bimcvr.curation.study import SetAside
from bimcvr.data.hu.model_grid import Centre, ModelGrid
from bimcvr.data.reading.grid import MAX_VOXELS, GridRules, NiftiForm
from bimcvr.data.reading.refused import escaped
from bimcvr.errors import UserError
from bimcvr.extras import require_extra

if TYPE_CHECKING:
    from bimcvr.curation.audit.facts_cache import Measured


def curate(
    source: Source | None = None,
    out: Path | None = None,
    size: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
    centre: Centre = "volume",
    denoise: Denoise | None = None,
    anonymise: Anonymiser | None = None,
    translate: TranslateStep | None = None,
    checks: Checks | None = None,
    extract_labels: LabelExtractor | None = None,
    review: Path | None = None,
    assign_splits: SplitStep | None = None,
    columns: dict[str, str] | None = None,
    shard: str | None = None,
    jobs: int = -1,
    scheduler: str | None = None,
    nifti_form: NiftiForm = "auto",
    max_voxels: int = MAX_VOXELS,
) -> int:
    """Turn an archive into a checked manifest. A step that is not named is off.

    The command can be stopped and started again at any time: finished work is kept, and a second run with nothing new
    changes no file. No row is dropped: rejected rows stay in the manifest with their status and flags, and whatever is
    no row is listed in set_aside.csv.

    Args:
        source: the archive's reader; by class_path, like bimcvr.curation.BimcvR.
        out: where the result is written: a folder for manifest, logs, review queue and cache.
        size: the model's grid: slices, rows and columns, like `[96, 224, 224]`. Each volume is resized to it and kept,
            which is needed if the source deletes its volumes; off by default.
        spacing: mm from slice to slice, row to row and column to column, like `[3, 1.5, 1.5]`: volumes are resampled to
            it, and cropped or padded with air to the size; by default the whole volume is resized to the size.
        centre: what the middle of a grid with a spacing is laid on: the middle of the volume, or the body.
        denoise: apply a SimpleITK filter, given by name, to a copy of each volume.
        anonymise: remove personal data from the reports; by class_path.
        translate: translate Spanish reports into English.
        checks: which flags reject a row, and which send it to a reviewer.
        extract_labels: extract labels from the reports; by class_path.
        review: the review queue, a CSV file that reviewers fill in; its name in the `out` folder.
        assign_splits: divide the accepted rows into train, val and test.
        columns: further columns, with the same text in every row.
        shard: `i/n` for the i-th of n jobs; when all are done, the same command without it joins their results.
        jobs: parallel processes; -1 for one per CPU core.
        scheduler: the address of a Dask scheduler (tcp://…) whose workers do the work; they need the same disk.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one.
        max_voxels: larger volumes are refused.

    Returns:
        0, or 3 if items were set aside.

    Raises:
        UserError: source or out is missing, or the archive has no usable study.
    """
    if source is None or out is None:
        raise UserError(
            "curate needs a source and an out folder: set them in the file given as --config, or with --source and"
            " --out."
        )
    if (spacing or centre != "volume") and not size:
        raise UserError("--spacing and --centre make no grid without --size. Give it too, like '[96, 224, 224]'.")
    grid = ModelGrid(size, spacing, centre) if size else None
    settings = IngestSettings(Path(out), grid, denoise, GridRules(nifti_form, max_voxels))
    if denoise:
        denoise.make()  # report a wrong name before hours of work
    steps = Steps(anonymise, translate, checks, extract_labels, review, assign_splits)
    share = _share(shard) if shard else None
    records = ShardRecords(settings.out / "records")
    start = time.perf_counter()
    with _workers(scheduler), _reporting_full_disk(settings.out):
        faults = records.faults(source.faults())
        count = ingest_shards(source, settings, records, share, jobs)
        if share:
            say(
                f"Job {shard} has ingested its share. When all jobs are done, run the same command without --shard to"
                " write the manifest."
            )
            _print_cost(count, start)
            return 0
        rows, set_aside = _unique([*faults, *records.items()])
        measured = run_steps(rows, steps, settings, jobs)
    code = _write(rows, measured, set_aside, settings, columns or {})
    write_regions(rows, settings.out / "regions.csv")
    _print_summary(rows, source, settings)
    _print_cost(count, start)
    return code


def _unique(items: list[Item]) -> tuple[list[CurationRow], list[SetAside]]:
    """Start the rows, and set aside studies whose name is invalid in a manifest or already taken."""
    ingested: dict[str, IngestedStudy] = {}
    set_aside = []
    for item in items:
        if isinstance(item, SetAside):
            set_aside.append(item)
            continue
        name = item.study.study_id
        if not f"{name}{item.volume}".isprintable():
            path = str(item.study.volume)
            if any("\ud800" <= sign <= "\udfff" for sign in path):
                message = f"{path} has a name with bytes that are in no encoding. Rename it (convmv)."
            else:
                message = f"{path!a} has a name with a line break or another sign that cannot be printed. Rename it."
            set_aside.append(SetAside(name, "bad_name", message))
        elif name in ingested:
            message = f"{item.volume} has the same study_id as {ingested[name].volume}. Keep one."
            set_aside.append(SetAside(name, "duplicate_study", message))
        else:
            ingested[name] = item
    return start_rows(list(ingested.values())), set_aside


def _write(
    rows: list[CurationRow],
    measured: "list[Measured | None]",
    set_aside: list[SetAside],
    settings: IngestSettings,
    columns: dict[str, str],
) -> int:
    """Write set_aside.csv and the manifest, and return the exit code."""
    unusable = [(row.study_id, row.ingested.refused, row.ingested.message) for row in rows if row.ingested.refused]
    unusable += [
        (row.study_id, flag, "The row is in the manifest, rejected.")
        for row in rows
        for flag in row.flags
        if flag in ("missing_voxels", "missing_file") and row.status == "rejected" and not row.ingested.refused
    ]
    lines = [*((item.name, item.reason, item.message) for item in set_aside), *unusable]
    path = settings.out / "set_aside.csv"
    write_csv(path, ("name", "reason", "message"), lines)
    if not rows and lines:
        raise UserError(f"The archive has no usable study. {path} lists what was set aside, with the reasons.")
    if not rows:
        raise UserError("The archive has no study: no volume and no row of its layout. Check the source's folder.")
    write_changed(
        settings.out / "manifest.csv", manifest_table(rows, measured, columns).to_csv(index=False, lineterminator="\n")
    )
    if lines:
        say(f"{len(lines)} items were set aside, listed in {path}:")
        for reason, count in Counter(line[1] for line in lines).most_common():
            say(f"  {reason}: {count}")
    return 3 if lines else 0


def _print_summary(rows: list[CurationRow], source: Source, settings: IngestSettings) -> None:
    status = Counter(row.status for row in rows)
    flags = Counter(flag for row in rows for flag in row.flags)
    states = ", ".join(f"{status[name]} {name}" for name in ("ok", "review", "rejected"))
    say(f"{settings.out / 'manifest.csv'}: {len(rows)} rows, {states}")
    say("flags: " + (", ".join(f"{name} {count}" for name, count in flags.most_common()) or "none"))
    passed = getattr(source, "passed_over", None)
    if passed:
        say(
            "files that are not part of the archive's layout: "
            + ", ".join(f"{count} {escaped(kind)}" for kind, count in passed.most_common(8))
        )
    deleted = sum(not (settings.out / row.ingested.volume).exists() for row in rows)
    if deleted and (grid := settings.grid):
        say(
            f"{deleted} volumes are deleted; only their copies in {settings.out / 'cache'} on the grid"
            f" {grid} are left. Keep that folder, and train with data.size {list(grid.size)}"
            + (f", data.spacing {list(grid.spacing)} and data.centre {grid.centre}" if grid.spacing else "")
            + f" and data.nifti_form {settings.rules.nifti_form}" * (settings.rules.nifti_form != "auto")
            + "."
        )


def _print_cost(studies: int, start: float) -> None:
    seconds = time.perf_counter() - start
    # in KiB on Linux; for the children, the largest one that has ended
    own, worker = (
        resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    say(
        f"{studies} studies processed in {seconds:.1f} s, {studies / seconds:.1f} studies/s; peak memory"
        f" {own:.2f} GiB" + (f", of the largest worker {worker:.2f} GiB" if worker > own / 10 else "")
    )


def _share(text: str) -> Share:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: give i/n with i from 1 to n, like 2/8 for the second of eight jobs.")
    return int(match[1]), int(match[2])


@contextlib.contextmanager
def _reporting_full_disk(out: Path) -> Iterator[None]:
    """Replace the error of a full disk by a message that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"The disk of {out} is full. Free some space, or let the source delete ingested shards (keep); then run"
            " the same command again."
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
