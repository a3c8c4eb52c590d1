"""The LightningModule: two streams into one embedding space, trained and evaluated (paper, section 3)."""

import math
import os
import warnings
from typing import Any, NamedTuple, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from bimcvr.contracts import Batch, Features, Gallery, RetrievalLoss, TextEncoder, ViewFusion, VolumeEncoder
from bimcvr.errors import UserError
from bimcvr.metrics.prompts import AFFIRM, DENY
from bimcvr.models.checkpoint_parts import check_same_parts
from bimcvr.models.evaluation_loop import EvaluationLoop
from bimcvr.models.losses.loss_inputs import LossInputs
from bimcvr.models.losses.objective import Objective, soft_target
from bimcvr.models.losses.training_targets import TrainingTargets
from bimcvr.models.optim import (
    apply_settings,
    optimizer_and_schedule,
    settings_of,
    steps_of_resumed,
    warmup_cosine,
)
from bimcvr.models.part_checks import (
    check_dim,
    check_features,
    check_learns,
    check_losses,
    check_text_features,
    check_tokens,
    run_part,
)
from bimcvr.models.start_check import check_parts, check_training, warn_of_training
from bimcvr.models.text.whitening import Whitening
from bimcvr.models.training_monitor import (
    check_gradients,
    check_loss,
    collapse_warning,
    feature_statistics,
)
from bimcvr.models.volume.chunks import in_chunks
from bimcvr.models.volume.slice_encoder import SliceEncoder
from bimcvr.models.volume.view_fusion import ChannelGate
from bimcvr.models.volume.volume_vectors import VolumeVectors, joined, view_of

TEXTS = 256
"""Texts that are encoded at a time."""


class TrainingOutput(NamedTuple):
    """The losses of a training batch, and the vectors of its volumes that they were computed from."""

    losses: dict[str, Tensor]
    vectors: VolumeVectors


class Retriever(LightningModule):
    """Two streams that map volumes and reports into one space.

    Volume: views → encoder → fusion → mean over tokens → linear map without bias (the channel gate scales Z by 1/D,
    so a bias would dominate it). Text: encoder, and optionally whitening and a linear map.

    Args:
        volume_encoder: see `bimcvr.contracts.VolumeEncoder`.
        text_encoder: see `bimcvr.contracts.TextEncoder`; a frozen encoder's weights stay out of checkpoints.
        fusion: see `bimcvr.contracts.ViewFusion`; equations 5 and 6 as printed by default.
        objective: the loss, see `bimcvr.contracts.RetrievalLoss`; equation 8 as printed by default.
        embed_dim: E, size of the common space, to which both streams are mapped linearly; None maps volumes to the text
            encoder's own space (the paper).
        whiten_text: before that map, give the text features of the training reports the same spread along all axes;
            needs `embed_dim`.
        map_volumes: map volumes linearly. Set it to false where both encoders already share a space, as CLIP's towers
            do; a model with nothing to train can then be tested without a checkpoint (zero-shot).
        chunk_size: studies of a training batch whose volumes are run at a time. In chunks a batch takes the memory of
            one chunk, and has the negatives and the gradients of the whole; each chunk is computed twice.
        slice_hits: in `test` also retrieve slice by slice, as 3D-MIR does, with that many hits a report (20 there);
            needs a SliceEncoder and one process.
        optimizer: called with the groups of trainable parameters. A module with a float attribute `lr_factor` learns at
            that share of the learning rate.
        warmup: share of all steps over which the learning rate rises, before it falls as a cosine to zero.
        keywords: labels that are asked for by prompts in `test` and `predict`; the paper's three and every label of the
            rows by default.
        prompts: sentences that ask for a keyword; a query is the mean of their vectors.
        denials: sentences that deny it, for zero-shot pairs.
        probes: whether `test` also embeds each report with one thing changed.
        pointing: whether `test` also scores where the model looks for a finding, where the manifest has `places`.
        eval_autocast: evaluate in the trainer's precision instead of float32.

    Raises:
        UserError: options contradict each other, or an encoder has no attribute `dim`.
    """

    def __init__(
        self,
        volume_encoder: VolumeEncoder,
        text_encoder: TextEncoder,
        fusion: ViewFusion | None = None,
        objective: Objective | RetrievalLoss | None = None,  # Objective first: `--model.objective.alpha` means its own
        embed_dim: int | None = None,
        whiten_text: bool = False,
        map_volumes: bool = True,
        chunk_size: int | None = None,
        slice_hits: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.AdamW(params, lr=1e-4),
        warmup: float = 0.0,
        keywords: tuple[str, ...] | None = None,
        prompts: tuple[str, ...] = AFFIRM,
        denials: tuple[str, ...] = DENY,
        probes: bool = True,
        pointing: bool = True,
        eval_autocast: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= warmup <= 1:
            raise UserError(
                f"model.warmup is {warmup}: it is a share of all steps, from 0 to 1. For 500 of 10000 steps give 0.05."
            )
        for name, number in (("embed_dim", embed_dim), ("chunk_size", chunk_size), ("slice_hits", slice_hits)):
            if number is not None and number < 1:
                raise UserError(f"model.{name} is {number}: it must be 1 or more, or null.")
        self.volume_encoder = volume_encoder
        self.text_encoder = text_encoder
        self.fusion: ViewFusion = fusion or ChannelGate()
        self.objective: RetrievalLoss = objective or Objective()
        check_dim(volume_encoder, "model.volume_encoder")
        check_dim(text_encoder, "model.text_encoder")
        volume_dim, text_dim = volume_encoder.dim, text_encoder.dim
        self.embed_dim = embed_dim or text_dim
        if not map_volumes and volume_dim != self.embed_dim:
            raise UserError(
                f"model.map_volumes is false, but volume vectors have {volume_dim} numbers and text vectors"
                f" {self.embed_dim}: choose the two towers of one model and no model.embed_dim, or set"
                " model.map_volumes to true."
            )
        self.project_image = nn.Linear(volume_dim, self.embed_dim, bias=False) if map_volumes else nn.Identity()
        if slice_hits is not None and not isinstance(volume_encoder, SliceEncoder):
            raise UserError(
                "model.slice_hits needs a volume encoder over slices: set model.volume_encoder to "
                "bimcvr.models.SliceEncoder, or leave slice_hits out."
            )
        self.slice_hits = slice_hits
        if whiten_text and not embed_dim:
            raise UserError(
                "model.whiten_text needs model.embed_dim: without it texts stay in their encoder's own space."
            )
        self.whitening = Whitening(text_dim) if whiten_text else None
        self.project_text = nn.Linear(text_dim, embed_dim, bias=False) if embed_dim else nn.Identity()
        self.optimizer, self.warmup, self.chunk_size = optimizer, warmup, chunk_size
        self.keywords, self.prompts, self.denials, self.probes = keywords, prompts, denials, probes
        self.pointing, self.eval_autocast = pointing, eval_autocast
        self.register_buffer("first_sd", torch.tensor(math.nan))
        self.first_sd: Tensor
        self.zero_shot_score: dict[str, Any] | None = None
        self._collapse_warned = False
        self._inputs: LossInputs | None = None
        self._evaluation: EvaluationLoop | None = None

    def embed_volume(self, volume: Tensor) -> Tensor:
        """Embed unaugmented volumes (B, 1, D, H, W), each in place of both views. Returns float32 (B, E)."""
        with self.eval_precision():
            features = self._encode_volume(volume)
            return self.pool_views(features, features).float()

    def last_evaluated(self) -> tuple[Gallery, Tensor, Tensor] | None:
        """Return the rows of the last evaluation with their image and text embeddings (N, E).

        None where nothing was evaluated. With several processes all have to call it, since it gathers.
        """
        return None if self._evaluation is None else (self._evaluation.gallery, *self._evaluation.embeddings())

    def zero_shot(self) -> bool:
        """Return whether there is nothing to train."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def embed_text(self, texts: list[str]) -> Tensor:
        """Embed B whole texts. Returns float32 (B, E)."""
        with self.eval_precision():
            return self.map_text(texts).float()

    def embed_texts(self, texts: list[str]) -> Tensor:
        """Embed N whole texts in batches, without gradients. Returns float32 (N, E) on the CPU."""
        with torch.no_grad():
            parts = [self.embed_text(texts[i : i + TEXTS]).cpu() for i in range(0, len(texts), TEXTS)]
        return torch.cat(parts) if parts else torch.empty(0, self.embed_dim)

    def forward(self, volume: Tensor, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Embed volumes (B, 1, D, H, W) and B texts. Returns two float32 (B, E)."""
        return self.embed_volume(volume), self.embed_text(texts)

    def training_forward(
        self, views: Tensor, text: list[str] | Tensor, target: Tensor | None = None, index: Tensor | None = None
    ) -> TrainingOutput:
        """Compute the losses of a batch, as a training step does.

        Args:
            views: (B, V, 1, D, H, W), V views of each study.
            text: B sampled texts, or their features (B, text_encoder.dim).
            target: (B, B) soft targets from cutmix.
            index: (B,) int64, manifest rows, from which a loss that asks for them gets shared reports and labels.

        Raises:
            UserError: a part's output has another shape than its contract says.
        """
        vectors = joined(in_chunks(self._volume_vectors, views, self.chunk_size, self))
        mapped = self.map_text(text)
        extra = {} if index is None or self._inputs is None else self._inputs.of(index)
        losses = self.objective(vectors.first, vectors.second, vectors.image, mapped, target, **extra)
        check_losses(self.objective, losses)
        return TrainingOutput(losses, vectors)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Compute equation 8 on a batch of views and sampled texts."""
        target = soft_target(batch["partner"], batch["kept"]) if "partner" in batch else None
        output = self.training_forward(batch["views"], batch["text"], target, batch["index"])
        check_loss(output.losses, self.global_step, batch["index"])
        self._log_training(output)
        return output.losses["loss"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep by which score findings are classified, as chosen on `val`."""
        checkpoint["zero_shot_score"] = self.zero_shot_score

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model where a trainer loads it."""
        self.zero_shot_score = checkpoint.get("zero_shot_score")
        if self._trainer is not None:
            check_same_parts(self, checkpoint, resumes=self.trainer.state.fn == "fit")

    def on_fit_start(self) -> None:
        """Look up the training rows' labels, and fit the whitening unless a checkpoint has its statistics."""
        datamodule = cast(Any, self.trainer).datamodule
        check_training(self, datamodule, self.trainer.world_size)
        warn_of_training(self, datamodule)
        check_parts(self, datamodule.grid, trains=True)
        targets = TrainingTargets(datamodule.gallery("train"), self.device)
        if self.objective.reads_labels() and not targets.labels:
            rank_zero_warn(
                "model.objective.keywords or presence has weight, but no training row has a label: L_key and L_presence"
                " are left out. Labels are the manifest's column `labels` or, without one, what its reports state."
            )
        unfitted = None if self.whitening is None or bool(self.whitening.fitted) else self.whitening
        kept: Tensor | None = None
        if unfitted is not None or self.objective.all_reports:
            reports = datamodule.train_dataset().reports()
            with torch.no_grad():
                features = torch.cat(
                    [self.text_encoder(reports[i : i + TEXTS]).cpu() for i in range(0, len(reports), TEXTS)]
                )
            if unfitted is not None:
                unfitted.fit(features)
            kept = features.to(self.device) if self.objective.all_reports else None
        self._inputs = LossInputs(self.objective, targets, self.prompts, self.map_text, kept)

    def on_train_start(self) -> None:
        """Let the optimiser's settings of this configuration hold in a resumed run, not those of the checkpoint."""
        if self.trainer.ckpt_path:
            factor = warmup_cosine(steps_of_resumed(self.trainer), self.warmup)
            apply_settings(self._settings, cast(LambdaLR, self.lr_schedulers()), factor)

    def on_train_epoch_start(self) -> None:
        """Seed dropout from seed, epoch and rank alone, so that a resumed run equals an uninterrupted one."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        torch.manual_seed((seed * 1_000_003 + self.current_epoch) * 65_537 + self.global_rank)

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the loss adjust its own parameters, such as the temperature."""
        self.objective.after_step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse gradients that are not finite, before they reach the weights."""
        if self.trainer.precision != "16-mixed":  # its scaler expects infinities and skips the step
            check_gradients(self, self.global_step)

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, warm-up and cosine; the loss's own numbers have no weight decay."""
        steps = int(self.trainer.estimated_stepping_batches)
        own = frozenset(name for name, number in self.objective.named_parameters("objective") if number.ndim == 0)
        optimizer, schedule = optimizer_and_schedule(self, self.optimizer, steps, self.warmup, own)
        self._settings = settings_of(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_validation_start(self) -> None:
        """Check the parts where `validate` starts; `fit` has done it."""
        if self.trainer.state.fn == "validate":
            self._check_for_evaluation()

    def on_validation_epoch_start(self) -> None:
        """Start an evaluation of `val`."""
        self._evaluation = EvaluationLoop(self, "val")

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Embed a batch of `val`."""
        self._running().add(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of `val`, and the score by which a checkpoint is chosen."""
        if not self.trainer.sanity_checking:
            self._running().log_figures()

    def on_test_start(self) -> None:
        """Check the parts."""
        self._check_for_evaluation()

    def on_test_epoch_start(self) -> None:
        """Start an evaluation of `test`."""
        self._evaluation = EvaluationLoop(self, "test", self.slice_hits)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Embed a batch of `test`."""
        self._running().add(batch)

    def on_test_epoch_end(self) -> None:
        """Log the figures of `test` and write embeddings and result into the run folder."""
        self._running().log_figures()
        self._running().write_result()

    def on_predict_start(self) -> None:
        """Check the parts."""
        self._check_for_evaluation()

    def on_predict_epoch_start(self) -> None:
        """Start an evaluation of all rows."""
        self._evaluation = EvaluationLoop(self, "all")

    def predict_step(self, batch: Batch, batch_index: int) -> None:
        """Embed a batch of any manifest."""
        self._running().add(batch)

    def on_predict_epoch_end(self) -> None:
        """Write the embeddings of all rows into the run folder."""
        self._running().write_embeddings()

    def eval_precision(self) -> torch.autocast:
        """Return the context of an evaluation: float32, or the trainer's precision with `eval_autocast`."""
        return torch.autocast(
            self.device.type, enabled=self.eval_autocast and torch.is_autocast_enabled(self.device.type)
        )

    def pool_views(self, first: Features, second: Features) -> Tensor:
        """Fuse two views of B volumes, and map the mean of the tokens into the common space → (B, E)."""
        tokens = self.fusion(first, second)
        check_tokens(self.fusion, tokens, len(first.cls), self.volume_encoder.dim)
        image: Tensor = self.project_image(tokens.mean(1))
        return image

    def _volume_vectors(self, views: Tensor) -> VolumeVectors:
        """Run views (B, V, 1, D, H, W) through encoder, fusion and map."""
        features = self._encode_volume(views.transpose(0, 1).flatten(0, 1))
        first, second = (view_of(features, len(views), position) for position in (0, views.shape[1] - 1))
        image = self.pool_views(first, second)
        # any module may be a fusion
        return VolumeVectors(first.cls, second.cls, image, getattr(self.fusion, "entropy", None))

    def _encode_volume(self, volume: Tensor) -> Features:
        features: Features = run_part(self.volume_encoder, "model.volume_encoder", volume)
        check_features(self.volume_encoder, features, len(volume), self.volume_encoder.dim)
        check_learns(self.volume_encoder, "model.volume_encoder", features.cls, features.tokens)
        return features

    def _check_for_evaluation(self) -> None:
        with self.eval_precision():
            check_parts(self, cast(Any, self.trainer).datamodule.grid, trains=False)

    def _running(self) -> EvaluationLoop:
        return cast(EvaluationLoop, self._evaluation)  # every evaluation epoch starts one

    def map_text(self, text: list[str] | Tensor) -> Tensor:
        """Map B texts, or their features (B, text_encoder.dim), into the common space → (B, E)."""
        features = text if isinstance(text, Tensor) else run_part(self.text_encoder, "model.text_encoder", text)
        check_text_features(self.text_encoder, features, len(text), self.text_encoder.dim)
        if not isinstance(text, Tensor):
            check_learns(self.text_encoder, "model.text_encoder", features)
        if self.dtype == torch.float64:  # a frozen encoder stays in float32
            features = features.double()
        mapped: Tensor = self.project_text(features if self.whitening is None else self.whitening(features))
        return mapped

    def _log_training(self, output: TrainingOutput) -> None:
        losses, vectors = output
        size = len(vectors.first)
        sd = (statistics := feature_statistics(vectors.first, vectors.second))["dimension_sd"]
        entropy = {} if vectors.entropy is None else {"gate_entropy": vectors.entropy}
        optimizers = [] if self._trainer is None else self.trainer.optimizers  # a step can be called by itself
        rate = {"learning_rate": torch.tensor(optimizers[0].param_groups[0]["lr"])} if optimizers else {}
        extra = {**statistics, **self.objective.logged(), **entropy, **rate}
        self.log("train/loss", losses["loss"].detach(), prog_bar=True, batch_size=size)
        logged = {f"train/{name}": value.detach() for name, value in {**losses, **extra}.items() if name != "loss"}
        self.log_dict(logged, batch_size=size)
        if torch.isnan(self.first_sd):
            self.first_sd.copy_(sd)
        elif sd < 0.01 * self.first_sd and not self._collapse_warned:
            self._collapse_warned = True
            warnings.warn(collapse_warning(self.global_step, sd.item(), self.first_sd.item()), stacklevel=2)
