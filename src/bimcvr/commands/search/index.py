"""The command `index`: creates or updates a searchable index of a manifest's studies."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError
from bimcvr.parsing.trust import split_trust
from bimcvr.run_folder import data_of_run

if TYPE_CHECKING:
    from bimcvr.search.ingest.update import UpdateReport
    from bimcvr.search.ingest.vector_sources import VectorSource

_NOT_ERASED = (
    "The index is open for reading (by a server?): removed and replaced studies can no longer be found, but their data"
    " stays in its files. It is erased the next time `index` runs while nobody reads."
)


def index(
    out: Path = Path("index"),
    manifest: Path | None = None,
    checkpoint: Path | None = None,
    embeddings: Path | None = None,
    split: Literal["train", "val", "test", "all"] = "all",
    root: Path | None = None,
    cache: Path | None = None,
    remove: str = "",
    prune: bool = False,
    batch: int = 64,
    jobs: int = -1,
    device: str | None = None,
    trust: str = "",
    nifti_form: Literal["auto", "sform", "qform"] | None = None,
    max_voxels: int = 2**31,
) -> int:
    """Create or update a searchable index of a manifest's studies.

    Only new and changed studies are processed; after a kill, the next run continues from the last commit. Volumes that
    cannot be read are skipped and listed in `refused.csv` in the index folder, and the exit code is then 3.

    Args:
        out: where the result is written: the folder of the search index.
        manifest: the manifest, a CSV file.
        checkpoint: the checkpoint of a trained model, in its run's folder; the index can then be
            searched by text and by volume.
        embeddings: the embeddings of a model, an .npz file, instead of a checkpoint; the index can then
            be searched by study, and by the keywords with prompts in the file.
        split: the split whose rows are used; of a manifest that has no `split` column, give the run's own
            manifest.csv.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default, and that of
            the training for a run's manifest.csv.
        cache: the folder of volumes resized to the model's grid; `cache` beside the manifest by default, and that of
            the training for a run's manifest.csv.
        remove: ids of studies to take out of the index, with commas between; a later run adds them again unless their
            rows are no longer in the manifest or are `rejected`.
        prune: also take out what the manifest no longer has, and what has no volume or embedding now.
        batch: how many studies are committed at a time.
        jobs: parallel processes; -1 for one per CPU core. They read volumes.
        device: where the model runs: cpu or cuda; by default a GPU where there is one.
        trust: classes, modules or packages of others whose code a checkpoint may run, with commas between.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one; by default as the checkpoint was trained.
        max_voxels: larger volumes are refused.

    Returns:
        The exit code: 3 if volumes could not be read.

    Raises:
        UserError: the options do not fit together, or the index cannot be created or updated.
    """
    from bimcvr.search.ingest.update import RowSelection, remove_studies, update_index

    if batch < 1:
        raise UserError(f"--batch {batch} commits nothing. Give a number from 1 on.")
    removed = [name.strip() for name in remove.split(",") if name.strip()]
    if manifest is None:
        if not removed or checkpoint is not None or embeddings is not None:
            raise UserError(
                "index needs --manifest, and --checkpoint or --embeddings; or --remove alone, for an existing index."
            )
        report = remove_studies(out, removed)
        say(f"{out}: {report.removed} studies removed, {report.studies} left.")
        _print_not_erased(report)
        if report.not_found:
            raise UserError(f"Not in the index {out}: {', '.join(report.not_found)}.")
        return 0
    run_root, run_cache = data_of_run(manifest)
    root, cache = root or run_root, cache or run_cache
    source = _source(checkpoint, embeddings, cache, jobs, device, split_trust(trust), nifti_form, max_voxels)
    report = update_index(out, source, RowSelection(manifest, root, split), removed, prune, batch)
    _print_update(report)
    if report.not_found:
        raise UserError(
            f"Neither in the index {out} nor in the manifest: {', '.join(report.not_found)}. Everything else is done."
        )
    return 3 if report.refused else 0


def _print_update(report: "UpdateReport") -> None:
    say(
        f"{report.folder}: {report.studies} studies; {report.updated} added or updated, {report.removed} removed,"
        f" {report.unchanged} unchanged."
    )
    _print_not_erased(report)
    if report.labels_text:
        say(report.labels_text)
    if report.outside:
        say(f"{report.outside} studies of the index are not among these rows and stay; --prune true removes them.")
    if report.without_embedding:
        say(f"{report.without_embedding} rows have no embedding and are left out.")
    if report.lungs_text:
        say(report.lungs_text)
    if report.refused:
        say(
            f"{report.refused} volumes could not be read and were skipped, listed in {report.folder / 'refused.csv'}:\n"
            f"{report.refused_text}"
        )


def _print_not_erased(report: "UpdateReport") -> None:
    if not report.erased:
        say(_NOT_ERASED)


def _source(
    checkpoint: Path | None,
    embeddings: Path | None,
    cache: Path | None,
    jobs: int,
    device: str | None,
    trust: list[str],
    nifti_form: Literal["auto", "sform", "qform"] | None,
    max_voxels: int,
) -> "VectorSource":
    from bimcvr.data.reading.grid import GridRules
    from bimcvr.search.ingest.vector_sources import CheckpointSource, EmbeddingsSource

    if checkpoint is not None and embeddings is None:
        return CheckpointSource(checkpoint, cache, jobs, device, trust, nifti_form, max_voxels)
    if embeddings is not None and checkpoint is None:
        return EmbeddingsSource(embeddings, jobs, GridRules(nifti_form or "auto", max_voxels))
    raise UserError("index needs either --checkpoint (of a trained model) or --embeddings (an .npz file).")
