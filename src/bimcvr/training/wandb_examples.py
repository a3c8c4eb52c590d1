"""Logs the best checkpoint to W&B as an artifact, and a table of retrieved examples.

Only the first process logs; all processes take part in gathering the embeddings. Without a W&B logger nothing happens.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import Gallery
from bimcvr.data.slice_pictures import grey, middle_slices, strip
from bimcvr.evaluation.embeddings import load_embeddings
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.models.retriever import Retriever
from bimcvr.training.checkpoints import RunCheckpoints

QUERIES = 5
"""Queries per direction."""
HITS = 5
"""Hits per query; 2 directions × 5 × 5 rows, since W&B stores every version of a table in full."""
LONGEST_ID = 90
"""W&B takes 128 characters, and the artifact of a table adds up to 32 to the id of its run."""
HEIGHT = 160
"""Height of a picture in pixels."""
COLUMNS = ("direction", "query", "query labels", "expected rank", "place", "found", "found labels", "cosine", "right")


class Example(NamedTuple):
    """One hit of one query.

    Attributes:
        query: position in the gallery.
        hit: position in the gallery.
        row: the columns of the table.
    """

    query: int
    hit: int
    row: tuple[str | float | int | bool, ...]


class WandbExamples(Callback):
    """Logs to W&B at the end of `fit` and of `test`.

    Args:
        log_examples: put windowed slices and report text into the table, not only study ids and labels.
    """

    def __init__(self, log_examples: bool = False) -> None:
        self.log_examples = log_examples

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Warn once that patient data will leave the run folder."""
        if self.log_examples and stage in ("fit", "test") and _loggers(trainer):
            rank_zero_warn(
                "log_examples is on: slices and report text of a few studies go into W&B's files, and with `wandb sync`"
                " or WANDB_MODE=online to its server. Leave it off unless that server may hold patient data."
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best checkpoint, and examples of the last epoch's `val`."""
        if not _loggers(trainer):
            return
        evaluated = cast(Retriever, pl_module).last_evaluated()
        if not trainer.is_global_zero:
            return
        _log_checkpoint(trainer)
        if evaluated is not None:
            gallery, image, text = evaluated
            self._log_table(trainer, "val", gallery, image.cpu(), text.cpu())

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log examples of `test`, from the embeddings that it wrote."""
        if _loggers(trainer) and trainer.is_global_zero:
            written = load_embeddings(Path(trainer.default_root_dir) / "embeddings.npz")
            self._log_table(trainer, "test", trainer.datamodule.gallery("test"), written.image, written.text)  # type: ignore[attr-defined]

    def _log_table(self, trainer: Trainer, split: str, gallery: Gallery, image: Tensor, text: Tensor) -> None:
        import wandb

        examples = retrieved_examples(image, text, gallery, int(os.environ.get("PL_GLOBAL_SEED", "0")))
        columns = [*COLUMNS, *(("volume", "report") if self.log_examples else ())]
        table = wandb.Table(columns=columns)
        dataset = getattr(trainer.datamodule, f"{split}_dataloader")().dataset if self.log_examples else None  # type: ignore[attr-defined]
        for example in examples:
            seen: list[Any] = []
            if dataset is not None:
                way = example.row[0] == "text to image"
                volume, report = (example.hit, example.query) if way else (example.query, example.hit)
                picture = strip(
                    middle_slices(
                        grey(dataset.sample(volume)["volume"][0, 0].numpy(), (0, 1)), dataset.spacing(volume)
                    ),
                    HEIGHT,
                )
                seen = [wandb.Image(picture, caption=gallery.study_id[volume]), dataset.reports()[report]]
            table.add_data(*example.row, *seen)
        for logger in _loggers(trainer):
            with _artifacts_beside_run(logger.experiment):
                logger.experiment.log(
                    {f"examples/{'phantom_' if gallery.description.get('synthetic') else ''}{split}": table}
                )


def retrieved_examples(image: Tensor, text: Tensor, gallery: Gallery, seed: int) -> list[Example]:
    """Search a gallery with a few of its texts and volumes; the same seed and gallery give the same ones.

    Args:
        image: (N, E).
        text: (N, E), row i belongs to row i of `image`.
        gallery: the N rows.
        seed: chooses the queries.

    Returns:
        For each direction and query its first hits, best first; equal scores keep the gallery's order.
    """
    size = len(gallery.study_id)
    queries = np.sort(np.random.default_rng(seed).choice(size, min(QUERIES, size), replace=False)).tolist()
    labels = [", ".join(sorted(row_labels)) for row_labels in gallery.labels]
    ranks = rank_both(image, text, torch.as_tensor(gallery.group))
    unit_image, unit_text = normalize(image.double(), dim=1), normalize(text.double(), dim=1)
    examples = []
    ways = (("text to image", unit_text, unit_image, ranks[0]), ("image to text", unit_image, unit_text, ranks[1]))
    for way, asking, answering, rank in ways:
        for query in queries:
            score = answering @ asking[query]
            for position, hit in enumerate(score.argsort(descending=True, stable=True)[:HITS].tolist(), start=1):
                row = (
                    way,
                    gallery.study_id[query],
                    labels[query],
                    float(rank.expected[query]),
                    position,
                    gallery.study_id[hit],
                    labels[hit],
                    round(float(score[hit]), 6),
                    bool(gallery.group[hit] == gallery.group[query]),
                )
                examples.append(Example(query, hit, row))
    return examples


def run_id(name: str) -> str:
    """Return a run's name as W&B takes it for a run's id and an artifact's name: short, of few characters, one a name.

    Args:
        name: the experiment's and run folder's names, in any letters.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    if plain == name and len(name) <= LONGEST_ID:
        return name
    return f"{plain[: LONGEST_ID - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _log_checkpoint(trainer: Trainer) -> None:
    import wandb

    chosen = next(item for item in trainer.checkpoint_callbacks if isinstance(item, RunCheckpoints))
    if not chosen.best.is_file():
        return
    for logger in _loggers(trainer):
        run = logger.experiment
        with _artifacts_beside_run(run):
            artifact = wandb.Artifact(
                f"{run.id}-checkpoint", type="model", metadata={chosen.monitor: chosen.best_score}
            )
            artifact.add_file(str(chosen.best), name="best.ckpt")
            run.log_artifact(artifact, aliases=["best"])


def _loggers(trainer: Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


@contextmanager
def _artifacts_beside_run(run: Any) -> Iterator[None]:
    """Let an offline run keep its artifacts' files in its folder, not in the home directory, until `wandb sync`."""
    if not run.offline or "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(Path(run.dir).parent)
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]
