"""One evaluation of a retriever: embed the rows of a split batch by batch, then log figures and write the outputs."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.atomic_files import sha256_of
from bimcvr.contracts import Batch, Features, Gallery, Probes, Prompts
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.metrics.keyword import rows_with_label
from bimcvr.metrics.prompts import prompt_sentences, prompted_labels
from bimcvr.metrics.retrieval_metric import CrossModalRetrieval, selection_score
from bimcvr.metrics.zero_shot import best_zero_shot_score
from bimcvr.models.localisation.pointing import PointingGame
from bimcvr.models.part_checks import check_features
from bimcvr.models.receipts import receipt_of
from bimcvr.models.run_outputs import write_embeddings, write_result
from bimcvr.models.volume.slice_encoder import SliceEncoder
from bimcvr.models.volume.slice_retrieval import SliceRetrieval
from bimcvr.provenance import git_commit, versions

if TYPE_CHECKING:
    from bimcvr.models.retriever import Retriever


class EvaluationLoop:
    """The rows of one split with their embeddings, as far as they were computed.

    Args:
        model: the retriever, attached to a trainer.
        split: `val`, `test`, or `all` for the rows of any manifest.
        slice_hits: also retrieve slice by slice with that many hits a report; the model's volume encoder is then a
            SliceEncoder.

    Attributes:
        gallery: the N rows.

    Raises:
        UserError: slices are to be retrieved by several processes.
    """

    def __init__(self, model: "Retriever", split: str, slice_hits: int | None = None) -> None:
        self._model, self._split = model, split
        self._datamodule = cast(Any, model.trainer).datamodule
        self._started = time.perf_counter()
        self.gallery: Gallery = self._datamodule.gallery(split)
        size, group = len(self.gallery.rows), torch.as_tensor(self.gallery.group)
        self._metric = CrossModalRetrieval(size, model.embed_dim, group).to(model.device)
        if slice_hits is not None and model.trainer.world_size > 1:
            raise UserError("model.slice_hits needs one process: add --trainer.devices 1, or --model.slice_hits null.")
        self._pointing = self._pointing_game() if split == "test" and model.pointing and slice_hits is None else None
        self._slices = None if slice_hits is None else SliceRetrieval(slice_hits, size)

    def add(self, batch: Batch) -> None:
        """Embed a batch of the split."""
        rows = torch.as_tensor(self.gallery.rows, device=batch["index"].device)
        positions = torch.searchsorted(rows, batch["index"])
        if self._slices is None and self._pointing is None:
            image, text = self._model(batch["volume"], batch["text"])
        elif self._slices is None:
            image = self._embed_and_point(batch)
            text = self._model.embed_text(batch["text"])
        else:
            image = self._embed_slices(self._slices, positions, batch["volume"])
            text = self._model.embed_text(batch["text"])
        self._metric.update(positions, image, text)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the image and text embeddings (N, E), gathered from all processes."""
        return self._metric.embeddings()

    def log_figures(self) -> None:
        """Log the split's retrieval figures, and the score by which a checkpoint is chosen."""
        figures = self._metric.compute()
        flat = {
            f"{self._split}/{direction}/{name}": value
            for direction, values in figures.items()
            for name, value in values.items()
        }
        self._model.log_dict(flat, rank_zero_only=False)
        self._model.log(f"{self._split}/score", selection_score(figures), prog_bar=True)
        if self._split == "val":
            self._choose_zero_shot_score()

    def write_result(self) -> None:
        """Write embeddings and result into the run folder; every process has to call it."""
        image, text = self.embeddings()
        if self._model.trainer.is_global_zero:
            slices: dict[str, object] = (
                {} if self._slices is None else {"slice_search": self._slices.result(text, self.gallery)}
            )
            embeddings = self._collect(image, text, with_probes=self._model.probes)
            write_result(embeddings, self.gallery, self._model.trainer, self._facts(), slices)

    def write_embeddings(self) -> None:
        """Write the embeddings alone into the run folder; every process has to call it."""
        image, text = self.embeddings()
        if self._model.trainer.is_global_zero:
            write_embeddings(self._collect(image, text, with_probes=False), self._model.trainer)

    def _choose_zero_shot_score(self) -> None:
        """Log how well the split's findings are classified by each score, and let the model keep the best."""
        prompts = self._embed_prompts() if any(self.gallery.labels) else None
        if prompts is None:
            return
        image, _ = self.embeddings()
        chosen = best_zero_shot_score(image, prompts, rows_with_label(self.gallery.labels, prompts.labels))
        if chosen is None:
            return
        best, means = chosen
        self._model.log_dict({f"val/zero_shot/{name}": mean for name, mean in means.items()}, rank_zero_only=False)
        self._model.zero_shot_score = {"used": best, "val": means}

    def _pointing_game(self) -> PointingGame | None:
        """Return what scores the maps of findings whose places the manifest states; None where it states none."""
        model, labels = self._model, set()
        for row in self.gallery.rows.tolist():
            labels |= {place.finding for place in self._datamodule.places(row)}
        if not labels:
            return None
        if model.trainer.world_size > 1:
            rank_zero_warn("Where the model looks is not scored: that needs one process (--trainer.devices 1).")
            return None
        sentences, names, _ = prompt_sentences(sorted(labels), model.prompts, ())
        vectors = normalize(model.embed_texts(sentences), dim=-1)
        queries = {name: vectors[[name == other for other in names]].mean(0) for name in labels}
        return PointingGame(model, queries, self._datamodule.window)

    def _embed_and_point(self, batch: Batch) -> Tensor:
        """Return the vectors of volumes (B, E), and score the maps of their findings."""
        model, volume = self._model, batch["volume"]
        with model.eval_precision():
            features = model.volume_encoder(volume)
            check_features(model.volume_encoder, features, len(volume), model.volume_encoder.dim)
            image = model.pool_views(features, features).float()
        for number, row in enumerate(batch["index"].tolist()):
            places = self._datamodule.places(row)
            if not places or self._pointing is None:
                continue
            own = Features(features.cls[number : number + 1], features.tokens[number : number + 1])
            study = self._datamodule.manifest.cell("study_id", row)
            try:
                placement = self._datamodule.placement(row)
                self._pointing.add(study, places, placement, volume[number : number + 1], own)
            except UserError as error:
                rank_zero_warn(f"Where the model looks is not scored: {error}")
                self._pointing = None
        return image

    def _embed_slices(self, retrieval: SliceRetrieval, positions: Tensor, volume: Tensor) -> Tensor:
        """Keep the vectors of the slices, and return those of the volumes (B, E)."""
        model = self._model
        encoder = cast(SliceEncoder, model.volume_encoder)
        with model.eval_precision():
            slices = encoder.embed_slices(volume)
            retrieval.update(positions, model.project_image(slices))
            pooled = encoder.join(slices)
            check_features(encoder, pooled, len(volume), encoder.dim)
            return model.pool_views(pooled, pooled).float()

    def _collect(self, image: Tensor, text: Tensor, with_probes: bool) -> Embeddings:
        prompts = self._embed_prompts()
        probes = self._embed_probes() if with_probes else None
        trained, seen = self._datamodule.known_rows, self._datamodule.seen(self.gallery.rows)
        data = self._datamodule
        return Embeddings(
            self.gallery.study_id,
            image.cpu(),
            text.cpu(),
            prompts,
            probes,
            trained,
            seen,
            data.cache.grid,
            data.report_hashes(self.gallery.rows),
            self._provenance(),
            None if self._pointing is None else self._pointing.located(),
        )

    def _provenance(self) -> dict[str, object]:
        """Return what a file of embeddings says of its making; nothing in it depends on where things lie."""
        model, data = self._model, self._datamodule
        checkpoint = model.trainer.ckpt_path
        return {
            "volume_encoder": part_name(model.volume_encoder),
            "text_encoder": part_name(model.text_encoder),
            "zero_shot": model.zero_shot(),
            "zero_shot_score": model.zero_shot_score,
            "checkpoint_sha256": sha256_of(Path(checkpoint)) if checkpoint else None,
            "receipts": {
                "volume": receipt_of(model.volume_encoder),
                "text": receipt_of(model.text_encoder),
            },
            "data": {
                **data.cache.grid.facts(),
                "window_hu": list(data.window),
                "nifti_form": data.cache.rules.nifti_form,
                "lungs_cut": self.gallery.description.get("lungs_cut"),
            },
            "manifest_hash": data.manifest.digest,
            "labels_from": data.manifest.labels_from,
            "git_commit": git_commit(),
            "versions": versions(),
        }

    def _embed_prompts(self) -> Prompts | None:
        model = self._model
        labels = prompted_labels(self.gallery.labels) if model.keywords is None else list(model.keywords)
        sentences, label_of_sentence, denies = prompt_sentences(labels, model.prompts, model.denials)
        return Prompts(sentences, label_of_sentence, denies, model.embed_texts(sentences)) if sentences else None

    def _embed_probes(self) -> Probes | None:
        probes = self._datamodule.probes("test")
        if not probes:
            return None
        studies, kinds, texts = (list(column) for column in zip(*probes, strict=True))
        return Probes(studies, kinds, self._model.embed_texts(texts))

    def _facts(self) -> dict[str, object]:
        model = self._model
        return {
            "checkpoint": str(model.trainer.ckpt_path or "none"),
            "zero_shot": model.zero_shot(),
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "seconds": round(time.perf_counter() - self._started, 2),
            "dtype": str(model.trainer.precision) if model.eval_autocast else "float32",
            "volume_encoder": part_name(model.volume_encoder),
            "text_encoder": part_name(model.text_encoder),
            "fusion": part_name(model.fusion),
            "embed_dim": model.embed_dim,
        }


def part_name(module: nn.Module) -> str:
    """Return a part's class name, with the source of its weights where it has one."""
    source = getattr(module, "source", "")
    return f"{type(module).__name__}({source})" if source else type(module).__name__
