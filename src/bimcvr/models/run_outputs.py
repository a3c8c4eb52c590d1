"""The files that `test` and `predict` write into the run folder."""

from pathlib import Path

from pytorch_lightning import Trainer

from bimcvr.atomic_files import write_json
from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings, save_embeddings
from bimcvr.evaluation.result import build_result
from bimcvr.provenance import git_commit, peak_memory_mb, versions


def write_result(
    embeddings: Embeddings,
    gallery: Gallery,
    trainer: Trainer,
    facts: dict[str, object],
    sections: dict[str, object],
) -> None:
    """Write `embeddings.npz` and `result.json` into the run folder.

    Args:
        embeddings: those of the gallery's rows, in its order.
        gallery: the rows.
        trainer: its `default_root_dir` is the run folder.
        facts: what the result states about the run: checkpoint, encoders, seconds.
        sections: further sections of the result beside the figures of the embeddings.
    """
    folder = Path(trainer.default_root_dir)
    save_embeddings(folder / "embeddings.npz", embeddings)
    result = {**build_result([embeddings], gallery), **sections}
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


def write_embeddings(embeddings: Embeddings, trainer: Trainer) -> None:
    """Write the embeddings of `predict` into the run folder; the files that `test` wrote stay.

    Args:
        embeddings: those of all rows of the manifest.
        trainer: its data module names the manifest, its `default_root_dir` is the run folder.
    """
    save_embeddings(embeddings_path(trainer), embeddings)


def embeddings_path(trainer: Trainer) -> Path:
    """Return where `predict` writes: `embeddings_<manifest>.npz` in the run folder."""
    name = f"embeddings_{trainer.datamodule.manifest.path.stem}.npz"  # type: ignore[attr-defined]
    return Path(trainer.default_root_dir) / name
