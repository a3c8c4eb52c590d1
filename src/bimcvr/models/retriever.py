"""The one LightningModule: two streams to embeddings, objective and retrieval metrics (paper, section 3)."""

import math
import os
import time
import warnings
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.functional import normalize

from bimcvr.contracts import Batch, Features, Gallery, Probes, Prompts
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.metrics.prompts import AFFIRM, DENY, asked_labels, prompt_sentences
from bimcvr.metrics.retrieval_metric import RetrievalMetric, selection_score
from bimcvr.models.losses.objective import Objective, soft_target
from bimcvr.models.losses.training_rows import TrainingRows
from bimcvr.models.optim import optimizer_and_schedule
from bimcvr.models.run_outputs import write_outputs
from bimcvr.models.text.whitening import Whitening
from bimcvr.models.volume.slice_encoder import SliceEncoder
from bimcvr.models.volume.slice_retrieval import SliceSearch
from bimcvr.models.volume.view_fusion import ChannelGate

TEXTS = 256
"""Texts that are encoded at a time."""


class Retriever(LightningModule):
    """Two streams that meet in one space: volumes and reports.

    Volume: views → encoder → fusion → mean over tokens → linear map without bias (the channel gate scales Z by 1/D,
    so a bias would swamp it). Text: frozen encoder, and optionally a linear map.

    Args:
        volume_encoder: (B, 1, D, H, W) → Features, with an int attribute `dim`.
        text_encoder: list of B strings → (B, E), with an int attribute `dim`; frozen, its weights stay out of
            checkpoints.
        fusion: two Features → tokens (B, N, C); equations 5 and 6 as printed by default.
        objective: the losses; equation 8 as printed by default.
        embed_dim: size of the common space, to which both streams are mapped linearly; None maps volumes to the text
            encoder's own space (the paper).
        whiten_text: before that map, give the text features of the training reports the same spread along all axes;
            needs `embed_dim`.
        map_volumes: map volumes linearly. False where both encoders already share a space, as CLIP's towers do; a model
            with nothing to train can then be tested without a checkpoint (zero-shot).
        slice_hits: in `test` also search slice by slice, as 3D-MIR does, with that many hits a report (20 there); needs
            an encoder of slices and one process.
        optimizer: gets the trainable parameters. A part with a float attribute `lr_factor` learns at this share of its
            rate.
        warmup: share of all steps over which the learning rate rises, before it falls as a cosine to zero.
        keywords: labels that are asked for by prompts in `test` and `predict`; the paper's three and every label of the
            rows by default.
        prompts: sentences that ask for a keyword; a query is the mean of their vectors.
        denials: sentences that deny it, for zero-shot pairs.
        probes: whether `test` also embeds each report with one thing changed.
        eval_autocast: evaluate in the trainer's precision instead of float32.
    """

    def __init__(
        self,
        volume_encoder: nn.Module,
        text_encoder: nn.Module,
        fusion: nn.Module | None = None,
        objective: Objective | None = None,
        embed_dim: int | None = None,
        whiten_text: bool = False,
        map_volumes: bool = True,
        slice_hits: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.AdamW(params, lr=1e-4),
        warmup: float = 0.0,
        keywords: tuple[str, ...] | None = None,
        prompts: tuple[str, ...] = AFFIRM,
        denials: tuple[str, ...] = DENY,
        probes: bool = True,
        eval_autocast: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.volume_encoder = volume_encoder
        self.text_encoder = text_encoder
        self.fusion = fusion or ChannelGate()
        self.objective = objective or Objective()
        text_dim = cast(int, text_encoder.dim)
        self.embed_dim = embed_dim or text_dim
        volume_dim = cast(int, volume_encoder.dim)
        if not map_volumes and volume_dim != self.embed_dim:
            raise UserError(
                f"model.map_volumes is false, but the volume encoder gives {volume_dim} numbers and the texts' space"
                f" has {self.embed_dim}: choose the two towers of one model and no model.embed_dim, or let volumes be"
                " mapped."
            )
        self.project_image = nn.Linear(volume_dim, self.embed_dim, bias=False) if map_volumes else nn.Identity()
        if slice_hits is not None and not isinstance(volume_encoder, SliceEncoder):
            raise UserError(
                "model.slice_hits needs an encoder of slices: set model.volume_encoder to "
                "bimcvr.models.SliceEncoder, or leave slice_hits out."
            )
        self.slice_hits = slice_hits
        if whiten_text and not embed_dim:
            raise UserError(
                "model.whiten_text needs model.embed_dim: in the text encoder's own space nothing is mapped."
            )
        self.whitening = Whitening(text_dim) if whiten_text else None
        self.project_text = nn.Linear(text_dim, embed_dim, bias=False) if embed_dim else nn.Identity()
        self.optimizer, self.warmup = optimizer, warmup
        self.keywords, self.prompts, self.denials, self.probes = keywords, prompts, denials, probes
        self.eval_autocast = eval_autocast
        self.register_buffer("first_sd", torch.tensor(math.nan))
        self.first_sd: Tensor
        self._warned = False
        self._started = 0.0
        self._training: TrainingRows | None = None
        self._gallery: Gallery | None = None
        self._metric: RetrievalMetric | None = None
        self._slices: SliceSearch | None = None

    def embed_volume(self, volume: Tensor) -> Tensor:
        """Embed unaugmented volumes (B, 1, D, H, W): the volume stands for both views. Returns float32 (B, E)."""
        with self._eval_precision():
            features = self.volume_encoder(volume)
            return self._pool(features, features).float()

    def last_evaluated(self) -> tuple[Gallery, Tensor, Tensor] | None:
        """Return the rows of the last evaluation with their image and text embeddings (N, E).

        Every process has to ask.
        """
        if self._gallery is None or self._metric is None:
            return None
        return self._gallery, *self._metric.embeddings()

    def zero_shot(self) -> bool:
        """Whether there is nothing to train."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def embed_text(self, texts: list[str]) -> Tensor:
        """Embed whole texts. Returns float32 (B, E)."""
        with self._eval_precision():
            return self._text(texts).float()

    def embed_texts(self, texts: list[str]) -> Tensor:
        """Embed any number of whole texts without gradients, some at a time. Returns float32 (N, E) on the CPU."""
        with torch.no_grad():
            parts = [self.embed_text(texts[i : i + TEXTS]).cpu() for i in range(0, len(texts), TEXTS)]
        return torch.cat(parts) if parts else torch.empty(0, self.embed_dim)

    def forward(self, volume: Tensor, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Embed volumes (B, 1, D, H, W) and B texts; returns two float32 (B, E)."""
        return self.embed_volume(volume), self.embed_text(texts)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Compute equation 8 on a batch of views and sampled texts."""
        views = batch["views"]
        features: Features = self.volume_encoder(views.transpose(0, 1).flatten(0, 1))
        first, second = (_part(features, views, place) for place in (0, views.shape[1] - 1))
        image = self._pool(first, second)
        text = self._text(batch["text"])
        target = soft_target(batch["partner"], batch["kept"]) if "partner" in batch else None
        losses = self.objective(first.cls, second.cls, image, text, target, **self._known(batch))
        if not torch.isfinite(losses["loss"]):
            self._refuse_non_finite({name: value.item() for name, value in losses.items()}, batch)
        self._log_training(losses, first.cls, second.cls)
        return cast(Tensor, losses["loss"])

    def on_fit_start(self) -> None:
        """Take the statistics of the training reports' text features, unless a checkpoint brought them."""
        datamodule = cast(Any, self.trainer).datamodule
        self._training = TrainingRows(datamodule.gallery("train"), self.device)
        if self.objective.keywords and datamodule.cutmix:
            raise UserError(
                "model.objective.keywords goes with volumes whose labels are known: set data.cutmix to 0, or its weight"
                " to 0."
            )
        if self.objective.keywords and not self._training.labels:
            rank_zero_warn(
                "model.objective.keywords has weight, but no training row bears a label: L_key is left out. Fill the"
                " column `labels` with `python -m bimcvr curate`."
            )
        if self.whitening is not None and not bool(self.whitening.fitted):
            reports = datamodule.train_dataset().reports()
            with torch.no_grad():
                self.whitening.fit(
                    torch.cat([self.text_encoder(reports[i : i + TEXTS]).cpu() for i in range(0, len(reports), TEXTS)])
                )

    def on_train_epoch_start(self) -> None:
        """Let dropout depend on seed, epoch and rank alone, so that a resumed run equals an undisturbed one."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        torch.manual_seed((seed * 1_000_003 + self.current_epoch) * 65_537 + self.global_rank)

    def on_train_batch_end(self, *_: Any) -> None:
        """Keep the temperature in its bounds."""
        self.objective.clamp_temperature()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before a gradient that is not finite reaches the weights."""
        if self.trainer.precision == "16-mixed":
            return  # its scaler expects infinities and skips the step
        for name, parameter in self.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise UserError(
                    f"The gradient of model.{name} is not finite at step {self.global_step}. Lower the learning rate,"
                    " set trainer.gradient_clip_val to 1.0, or train with trainer.precision 32-true."
                )

    def configure_optimizers(self) -> Any:
        """AdamW (or what is configured) with warm-up and cosine; the temperature does not decay."""
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer, schedule = optimizer_and_schedule(
            self, self.optimizer, steps, self.warmup, frozenset({"objective.log_scale"})
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_validation_epoch_start(self) -> None:
        """Start an empty metric over the rows of `val`."""
        self._start("val")

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Embed a batch of `val`."""
        self._embed(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of `val`, and the score by which a checkpoint is chosen."""
        if self.trainer.sanity_checking:
            return
        self._log_figures("val")

    def on_test_epoch_start(self) -> None:
        """Start an empty metric over the rows of `test`."""
        self._start("test")
        if self.slice_hits is not None:
            if self.trainer.world_size > 1:
                raise UserError(
                    "model.slice_hits needs one process: add --trainer.devices 1, or --model.slice_hits null."
                )
            self._slices = SliceSearch(self.slice_hits, len(cast(Gallery, self._gallery).rows))

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Embed a batch of `test`."""
        self._embed(batch)

    def on_test_epoch_end(self) -> None:
        """Log the figures of `test` and write embeddings and result into the run folder."""
        self._log_figures("test")
        self._write(self._facts())

    def on_predict_epoch_start(self) -> None:
        """Start an empty metric over all rows."""
        self._start("all")

    def predict_step(self, batch: Batch, batch_index: int) -> None:
        """Embed a batch of any manifest."""
        self._embed(batch)

    def on_predict_epoch_end(self) -> None:
        """Write the embeddings of all rows into the run folder."""
        self._write(None)

    def _text(self, texts: list[str]) -> Tensor:
        features = self.text_encoder(texts)
        return cast(Tensor, self.project_text(features if self.whitening is None else self.whitening(features)))

    def _known(self, batch: Batch) -> dict[str, Tensor]:
        """What the objective asks of the rows beside their features."""
        known: dict[str, Tensor] = {}
        rows, objective = self._training, self.objective
        if rows is None or (objective.double_reports and not objective.keywords):
            return known
        everyone = objective.everyone(batch["index"])
        if not objective.double_reports:
            known["same"] = rows.same_report(batch["index"], everyone)
        if objective.keywords and rows.labels:
            sentences, _, _ = prompt_sentences(rows.labels, self.prompts, ())
            prompts = normalize(self._text(sentences), dim=-1)
            known["prompts"] = prompts.view(len(rows.labels), len(self.prompts), -1).mean(1)
            known["bears"] = rows.bears(everyone)
        return known

    def _pool(self, first: Features, second: Features) -> Tensor:
        return cast(Tensor, self.project_image(self.fusion(first, second).mean(1)))

    def _eval_precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, enabled=self.eval_autocast and torch.is_autocast_enabled(self.device.type)
        )

    def _start(self, split: str) -> None:
        self._started = time.perf_counter()
        self._gallery = cast(Any, self.trainer).datamodule.gallery(split)
        gallery = cast(Gallery, self._gallery)
        group = torch.as_tensor(gallery.group)
        self._metric = RetrievalMetric(len(gallery.rows), self.embed_dim, group).to(self.device)

    def _embed(self, batch: Batch) -> None:
        gallery, metric = cast(Gallery, self._gallery), cast(RetrievalMetric, self._metric)
        rows = torch.as_tensor(gallery.rows, device=batch["index"].device)
        place = torch.searchsorted(rows, batch["index"])
        if self._slices is None:
            image, text = self(batch["volume"], batch["text"])
        else:
            image, text = self._embed_slices(place, batch["volume"]), self.embed_text(batch["text"])
        metric.update(place, image, text)

    def _embed_slices(self, place: Tensor, volume: Tensor) -> Tensor:
        """Keep the vectors of the slices, and return those of the volumes."""
        encoder = cast(SliceEncoder, self.volume_encoder)
        with self._eval_precision():
            slices = encoder.embed_slices(volume)
            cast(SliceSearch, self._slices).update(place, self.project_image(slices))
            joined = encoder.join(slices)
            return self._pool(joined, joined).float()

    def _log_figures(self, split: str) -> None:
        figures = cast(RetrievalMetric, self._metric).compute()
        flat = {f"{split}/{way}/{name}": value for way, part in figures.items() for name, value in part.items()}
        self.log_dict(flat, rank_zero_only=False)
        self.log(f"{split}/score", selection_score(figures), prog_bar=True)

    def _facts(self) -> dict[str, object]:
        return {
            "checkpoint": str(self.trainer.ckpt_path or "none"),
            "zero_shot": self.zero_shot(),
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "seconds": round(time.perf_counter() - self._started, 2),
            "dtype": str(self.trainer.precision) if self.eval_autocast else "float32",
            "volume_encoder": part_name(self.volume_encoder),
            "text_encoder": part_name(self.text_encoder),
            "fusion": part_name(self.fusion),
            "embed_dim": self.embed_dim,
        }

    def _write(self, facts: dict[str, object] | None) -> None:
        image, text = cast(RetrievalMetric, self._metric).embeddings()
        if self.trainer.is_global_zero:
            gallery = cast(Gallery, self._gallery)
            embeddings = Embeddings(
                gallery.study_id,
                image.cpu(),
                text.cpu(),
                self._embed_prompts(gallery),
                self._embed_probes() if self.probes and facts is not None else None,
            )
            searched: dict[str, object] = (
                {"slice_search": self._slices.result(text, gallery)} if self._slices is not None else {}
            )
            write_outputs(embeddings, gallery, self.trainer, facts, searched)

    def _embed_prompts(self, gallery: Gallery) -> Prompts | None:
        labels = asked_labels(gallery.labels) if self.keywords is None else list(self.keywords)
        sentences, of, denies = prompt_sentences(labels, self.prompts, self.denials)
        return Prompts(sentences, of, denies, self.embed_texts(sentences)) if sentences else None

    def _embed_probes(self) -> Probes | None:
        changed = cast(Any, self.trainer).datamodule.probes("test")
        if not changed:
            return None
        studies, kinds, texts = (list(column) for column in zip(*changed, strict=True))
        return Probes(studies, kinds, self.embed_texts(texts))

    def _log_training(self, losses: dict[str, Tensor], z1: Tensor, z2: Tensor) -> None:
        z1, z2 = z1.detach().float(), z2.detach().float()
        sd = z1.std(0).mean() if len(z1) > 1 else z1.new_tensor(math.nan)
        watched = {
            "norm": z1.norm(dim=-1).mean(),
            "view_cosine": torch.cosine_similarity(z1, z2).mean(),
            "dimension_sd": sd,
            "temperature": 1 / self.objective.scale.detach(),
        }
        if self.fusion.entropy is not None:
            watched["gate_entropy"] = cast(Tensor, self.fusion.entropy)
        self.log("train/loss", losses["loss"].detach(), prog_bar=True, batch_size=len(z1))
        parts = {f"train/{name}": value.detach() for name, value in {**losses, **watched}.items() if name != "loss"}
        self.log_dict(parts, batch_size=len(z1))
        if torch.isnan(self.first_sd):
            self.first_sd.copy_(sd)
        elif sd < 0.01 * self.first_sd and not self._warned:
            self._warned = True
            warnings.warn(
                f"The features collapse: at step {self.global_step} their sd over a batch is under 1 % of its start "
                f"({sd.item():.2e} of {self.first_sd.item():.2e}). L_mse is met by shrinking Z: set "
                "model.objective.normalise_views to true, or lower model.objective.consistency.",
                stacklevel=2,
            )

    def _refuse_non_finite(self, losses: dict[str, float], batch: Batch) -> None:
        rows = batch["index"].tolist()
        raise UserError(
            f"The loss is not finite at step {self.global_step} ({losses}; manifest rows {rows}). Lower the learning"
            " rate, set trainer.gradient_clip_val to 1.0, or train with trainer.precision 32-true."
        )


def _part(features: Features, views: Tensor, place: int) -> Features:
    """Take one view's share of features that were computed for all views in one pass."""
    size = len(views)
    return Features(*(part[place * size : (place + 1) * size] for part in features))


def part_name(module: nn.Module) -> str:
    """Name a part by its class, and the text encoder by the model it really holds."""
    source = getattr(module, "source", "")
    return f"{type(module).__name__}({source})" if source else type(module).__name__
