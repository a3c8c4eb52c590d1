"""Writing what `test` and `predict` leave in the run folder."""

from pathlib import Path

from pytorch_lightning import Trainer

from bimcvr.atomic_files import write_json
from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings, save_embeddings
from bimcvr.evaluation.result import build_result
from bimcvr.provenance import git_commit, peak_memory_mb, versions


def write_outputs(
    embeddings: Embeddings,
    gallery: Gallery,
    trainer: Trainer,
    facts: dict[str, object] | None,
    sections: dict[str, object] | None = None,
) -> None:
    """Write `embeddings.npz` and `result.json`, or without facts `embeddings_<manifest>.npz` alone.

    Into the run folder.

    Args:
        embeddings: of the gallery's rows, in its order.
        gallery: the rows.
        trainer: its `default_root_dir` is the run folder.
        facts: what the result says about the run (checkpoint, encoder, seconds); None, as in `predict`, writes no
            result and leaves what `test` wrote.
        sections: what else the result holds beside the figures of the embeddings.
    """
    folder = Path(trainer.default_root_dir)
    if facts is None:
        path = folder / f"embeddings_{trainer.datamodule.manifest.path.stem}.npz"  # type: ignore[attr-defined]
        save_embeddings(path, embeddings)
        print(f"embeddings: {path}")
        return
    save_embeddings(folder / "embeddings.npz", embeddings)
    result = {**build_result([embeddings], gallery), **(sections or {})}
    result["about"] = {
        **gallery.description,
        **facts,
        "git_commit": git_commit(),
        "versions": versions(),
        "peak_memory_mb": peak_memory_mb(),
        "config": str(folder / "config.yaml"),
        "device": trainer.strategy.root_device.type,
        "processes": trainer.world_size,
    }
    write_json(folder / "result.json", result)
