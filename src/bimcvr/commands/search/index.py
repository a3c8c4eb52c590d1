"""The verb `index`: a checkpoint or embeddings, and a manifest, become a folder that can be searched."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.search.ingest.vector_sources import VectorSource


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
) -> int:
    """Make or update a searchable index of a manifest's studies.

    Only what is new or changed is done; a killed run goes on with what it has committed. Volumes that cannot be read
    are set aside in `refused.csv` in the index's folder, and the exit code is then 3.

    Args:
        out: where the result is written: the folder of the search index.
        manifest: the manifest, a CSV file.
        checkpoint: the checkpoint of a trained model, in its run's folder; texts and volumes can then be asked.
        embeddings: the embeddings of a model, an .npz file, instead of a checkpoint; studies and its keywords can then
            be asked.
        split: the split whose rows are used; of a manifest that has no `split` column, give the run's own
            manifest.csv.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        cache: the folder of volumes resized to the model's grid; `cache` beside the manifest by default, as in
            training.
        remove: ids of studies to take out of the index, with commas between; a later run adds them again unless their
            rows have left the manifest or are `rejected`.
        prune: also take out what the manifest no longer has, and what has no volume or embedding now.
        batch: how many studies are committed at a time.
        jobs: parallel processes; -1 for one per CPU core. They read volumes.
        device: where the model runs: cpu or cuda; by default a GPU where there is one.
    """
    from bimcvr.search.ingest.update import RowSelection, remove_studies, update_index

    if batch < 1:
        raise UserError(f"--batch {batch} commits nothing. Give a number from 1 on.")
    removed = [name.strip() for name in remove.split(",") if name.strip()]
    if manifest is None:
        if not removed or checkpoint is not None or embeddings is not None:
            raise UserError(
                "index needs --manifest, and --checkpoint or --embeddings; or --remove alone, for an index that is"
                " there."
            )
        return remove_studies(out, removed)
    source = _source(checkpoint, embeddings, cache, jobs, device)
    return update_index(out, source, RowSelection(manifest, root, split), removed, prune, batch)


def _source(
    checkpoint: Path | None, embeddings: Path | None, cache: Path | None, jobs: int, device: str | None
) -> "VectorSource":
    from bimcvr.search.ingest.vector_sources import CheckpointSource, EmbeddingsSource

    if checkpoint is not None and embeddings is None:
        return CheckpointSource(checkpoint, cache, jobs, device)
    if embeddings is not None and checkpoint is None:
        return EmbeddingsSource(embeddings, jobs)
    raise UserError("index needs --checkpoint (a trained model's) or --embeddings (an .npz file), one of them.")
