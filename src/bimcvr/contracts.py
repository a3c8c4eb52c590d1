"""Types shared by the layers: a batch, the rows of an evaluation, and base classes for a user's own model parts.

Deriving from the base classes is optional: any `nn.Module` is accepted as an encoder or a fusion, so that an existing
one can be named by `class_path`. `bimcvr.models.part_checks` checks whether it keeps its contract.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn


class Batch(TypedDict):
    """A batch of studies.

    Attributes:
        views: (B, V, 1, D, H, W) float, HU window scaled to [0, 1]; only in training. V is 2, or 1 without view 2.
        volume: (B, 1, D, H, W) float, the unaugmented volume; only in evaluation.
        text: B strings, already sampled.
        index: (B,) int64, the row of the manifest.
        partner: (B,) int64, only with cutmix: the position in this batch whose box was pasted in.
        kept: (B,) float, only with cutmix: the share of its own voxels that a study kept.
    """

    views: NotRequired[Tensor]
    volume: NotRequired[Tensor]
    text: list[str]
    index: Tensor
    partner: NotRequired[Tensor]
    kept: NotRequired[Tensor]


class Features(NamedTuple):
    """The output of a volume encoder: `cls` (B, C) and the token map `tokens` (B, N, C)."""

    cls: Tensor
    tokens: Tensor


class _Part(nn.Module, ABC):
    """Base of the parts whose contract any `nn.Module` may meet."""

    @classmethod
    def __subclasshook__(cls, candidate: type) -> bool:
        # any module may be named by class_path, also one that was written without these classes
        return issubclass(candidate, nn.Module) if _Part in cls.__bases__ else NotImplemented


class VolumeEncoder(_Part):
    """Encodes CT volumes.

    Attributes:
        dim: C, the length of a feature vector.
    """

    dim: int
    __call__: Callable[..., Features]

    @abstractmethod
    def forward(self, volume: Tensor) -> Features:
        """Encode volumes.

        Args:
            volume: (B, 1, D, H, W) float, HU of `data.window` scaled to [0, 1].

        Returns:
            `cls` (B, C) and `tokens` (B, N, C).
        """


class TextEncoder(_Part):
    """Encodes report texts.

    Attributes:
        dim: E, the length of a text's vector.
    """

    dim: int
    __call__: Callable[..., Tensor]

    @abstractmethod
    def forward(self, texts: list[str]) -> Tensor:
        """Encode texts.

        Args:
            texts: B strings.

        Returns:
            (B, E) float, on the module's device.
        """


class DataGrid(NamedTuple):
    """What the data module makes of every volume before an encoder gets it.

    Attributes:
        size: D, H, W.
        spacing: mm along D, H, W; None where volumes are resized to `size` whatever their spacing.
        window: the HU that became 0 and 1.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    window: tuple[float, float]


@runtime_checkable
class TakesGrid(Protocol):
    """A volume encoder that reads volumes of one grid only, as a published tower does."""

    def accept_grid(self, grid: DataGrid) -> None:
        """Be told what the volumes are like, before the first of them comes.

        Raises:
            UserError: the encoder was made for another grid, or the window has lost what it needs.
        """


@runtime_checkable
class HasReceipt(Protocol):
    """An encoder that states, as data, what happens to its input before and after its weights see it."""

    def receipt(self) -> dict[str, object]:
        """Return the preprocessing, the weights and the form of the output; it can be written as JSON."""


class TokenGrid(NamedTuple):
    """How the tokens of an encoder lie on its input volume, in C order along D, H, W.

    Attributes:
        shape: d, h, w tokens.
        first: where the middle of the first token lies, in voxels from each axis' first face.
        step: voxels from one token to the next.
    """

    shape: tuple[int, int, int]
    first: tuple[float, float, float]
    step: tuple[float, float, float]


@runtime_checkable
class HasTokenGrid(Protocol):
    """A volume encoder whose tokens lie on a grid, so that a map of relevance can be made from them."""

    def token_grid(self, size: tuple[int, int, int]) -> TokenGrid | None:
        """Return how the tokens of a volume of `size` (D, H, W) lie; None if they have no place."""


class FeatureMaps(NamedTuple):
    """The inner maps of a convolutional encoder for one volume, from fine to coarse.

    Attributes:
        features: of the volume; they depend on every map.
        maps: (1, C, d, h, w) each; the first is a leaf with gradients.
        grids: where their positions lie.
    """

    features: Features
    maps: Sequence[Tensor]
    grids: Sequence[TokenGrid]


@runtime_checkable
class HasFeatureMaps(Protocol):
    """A volume encoder with inner maps that say more finely than its tokens where something lies."""

    def feature_maps(self, volume: Tensor) -> FeatureMaps | None:
        """Return the maps of a volume (1, 1, D, H, W); None where there are none."""


class ViewFusion(_Part):
    """Joins the features of two views of one volume.

    Attributes:
        entropy: a scalar that training logs as `train/gate_entropy`, or None: the mean entropy of the last batch's
            attention as a share of the largest possible.
    """

    entropy: Tensor | None = None
    __call__: Callable[..., Tensor]

    @abstractmethod
    def forward(self, first: Features, second: Features) -> Tensor:
        """Fuse two views; in evaluation both are the same volume.

        Args:
            first: `cls` (B, C) and `tokens` (B, N, C) of view 1.
            second: the same of view 2.

        Returns:
            Tokens (B, M, C), M ≥ 1; their mean represents the volume.
        """


class RetrievalLoss(nn.Module, ABC):
    """The training loss of a batch.

    Attributes:
        keywords: weight of the labels' prompts as queries; above 0 `forward` is given `prompts` and `has_label`.
        presence: weight of the labels' prompts as classifiers; above 0 it is given them, too.
        double_reports: whether another row with a study's own report is its negative; if not, `forward` is given
            `same_report`.
        all_reports: whether all training reports are a volume's negatives; if so, `forward` is given `reports` and
            `not_negative`.
    """

    keywords: float = 0.0
    presence: float = 0.0
    double_reports: bool = True
    all_reports: bool = False
    __call__: Callable[..., dict[str, Tensor]]

    @abstractmethod
    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        image: Tensor,
        text: Tensor,
        target: Tensor | None = None,
        same_report: Tensor | None = None,
        prompts: Tensor | None = None,
        has_label: Tensor | None = None,
        reports: Tensor | None = None,
        not_negative: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            z1: (B, C) CLS features of view 1.
            z2: (B, C) CLS features of view 2.
            image: (B, E) pooled, projected image features.
            text: (B, E) projected text features.
            target: (B, B) soft targets from cutmix, None without.
            same_report: (B, M) bool, which of the M candidates share a row's report.
            prompts: (L, E), one vector a training label.
            has_label: (M, L) bool, the labels of the M candidates.
            reports: (N, E), one projected vector a training row, of its whole report.
            not_negative: (B, N) bool, which of them are no negatives of a row: its own report, and the candidates'.

        Returns:
            Scalars by name; `loss` is minimised, the others are logged as `train/<name>`.
        """

    def reads_labels(self) -> bool:
        """Return whether the loss uses the labels of the training rows."""
        return self.keywords > 0 or self.presence > 0

    def candidates(self, local: Tensor) -> Tensor:
        """Return the (M, …) rows that this process's (B, …) are compared with: themselves, unless overridden."""
        return local

    def after_step(self) -> None:
        """Adjust the loss's own parameters after an optimiser step: nothing, unless overridden."""

    def logged(self) -> dict[str, Tensor]:
        """Return further scalars to log as `train/<name>`: none, unless overridden."""
        return {}


@dataclass(frozen=True)
class Gallery:
    """The rows of one evaluation, in the order of the manifest.

    Attributes:
        rows: (N,) int64, their positions in the manifest, ascending.
        study_id: N names.
        group: (N,) int64; rows with the same number share a report and are right answers of each other.
        same_text: (N,) int64; rows with the same number have the same normalised report.
        elsewhere: (N,) bool, rows whose report is flagged as belonging to another study.
        flagged: (N,) bool, rows with any flag.
        patient: N patient ids; where the manifest has none, every study is its own patient.
        labels: the labels of each row.
        description: what every result states: split, strategy, manifest, its hash, whether it is synthetic.
    """

    rows: np.ndarray
    study_id: list[str]
    group: np.ndarray
    same_text: np.ndarray
    elsewhere: np.ndarray
    flagged: np.ndarray
    patient: list[str]
    labels: list[frozenset[str]]
    description: dict[str, object]

    def only(self, positions: Sequence[int]) -> "Gallery":
        """Return a part of the rows.

        Args:
            positions: positions in this gallery.
        """
        names = ("study_id", "patient", "labels")
        part: dict[str, Any] = {name: [getattr(self, name)[position] for position in positions] for name in names}
        part |= {
            name: getattr(self, name)[list(positions)]
            for name in ("rows", "group", "same_text", "elsewhere", "flagged")
        }
        return replace(self, **part)


class Probe(NamedTuple):
    """A report with one thing changed: the study it belongs to, the kind of change, the changed text."""

    study_id: str
    kind: str
    text: str


@dataclass(frozen=True)
class Prompts:
    """Sentences that ask for a label, or deny it, and their vectors.

    Attributes:
        sentence: P sentences.
        label: P labels, the one that each is about.
        denies: P, whether a sentence says that the finding is absent.
        vector: (P, E) float32.
    """

    sentence: list[str]
    label: list[str]
    denies: list[bool]
    vector: Tensor

    @property
    def labels(self) -> list[str]:
        """The labels that some sentence asks for, each once, in the order of the sentences."""
        return list(dict.fromkeys(label for label, denies in zip(self.label, self.denies, strict=True) if not denies))

    def affirming(self, label: str) -> Tensor:
        """Return the vectors (p, E) of the sentences that ask for a label."""
        return self._vectors(label, denies=False)

    def denying(self, label: str) -> Tensor:
        """Return the vectors (p, E) of the sentences that deny a label."""
        return self._vectors(label, denies=True)

    def has_pair(self, label: str) -> bool:
        """Return whether a label is both asked for and denied."""
        return len(self.affirming(label)) > 0 and len(self.denying(label)) > 0

    def without(self, labels: Collection[str]) -> "Prompts":
        """Return the sentences that are about none of some labels."""
        kept = [row for row, label in enumerate(self.label) if label not in labels]
        return Prompts(
            [self.sentence[row] for row in kept],
            [self.label[row] for row in kept],
            [self.denies[row] for row in kept],
            self.vector[kept],
        )

    def _vectors(self, label: str, denies: bool) -> Tensor:
        chosen = [own == (label, denies) for own in zip(self.label, self.denies, strict=True)]
        return self.vector[torch.tensor(chosen, dtype=torch.bool)]


@dataclass(frozen=True)
class Probes:
    """Reports with one thing changed, and their vectors.

    Attributes:
        study_id: M names: the study whose report was changed.
        kind: M kinds of change.
        vector: (M, E) float32.
    """

    study_id: list[str]
    kind: list[str]
    vector: Tensor


LOCATED = ("pointing", "chance_pointing", "other_pointing", "mass", "chance_mass", "other_mass")
"""What is measured of a finding's map (`bimcvr.metrics.localisation`), each as a share from 0 to 1."""


@dataclass(frozen=True)
class Located:
    """How the maps of M pairs of a study and a finding agree with the finding's place.

    Attributes:
        study_id: M names.
        finding: M labels.
        scores: (M, 6) float64, the columns of `LOCATED`; NaN where a study has every finding and so no other query.
        how: what the maps were made of: `maps` of the encoder's inner stages, `tokens`, or `gradients` of the input.
        token_mm: the size of their parts, mm along slices, rows and columns, mean over the volumes.
        diameter: (M,) float64, of the finding's largest place in such parts (balls and cubes of these volumes), or NaN.
    """

    study_id: list[str]
    finding: list[str]
    scores: np.ndarray
    how: str
    token_mm: tuple[float, float, float]
    diameter: np.ndarray
