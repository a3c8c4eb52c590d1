"""What passes between the layers: a batch, an encoder's features, and the rows an evaluation is about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor


class Batch(TypedDict):
    """A batch of studies.

    Attributes:
        views: (B, V, 1, D, H, W) float, HU window scaled to [0, 1]; only in training. V is 2, or 1 where
            the configuration names no second view.
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
    """What a volume encoder returns: `cls` (B, C) and the token map `tokens` (B, N, C)."""

    cls: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Gallery:
    """The rows of one evaluation, in the order of the manifest.

    Attributes:
        rows: (N,) int64, their positions in the manifest, ascending.
        study_id: N names.
        group: (N,) int64; rows with the same number share a report and are right answers of each other.
        same_text: (N,) int64; rows with the same number have the same normalised report.
        elsewhere: (N,) bool, rows whose report is flagged as belonging elsewhere.
        flagged: (N,) bool, rows with any flag.
        patient: N patient ids; where the manifest has none, every study is its own patient.
        labels: for each row its labels.
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

    def only(self, places: Sequence[int]) -> "Gallery":
        """Return some of the rows, as positions in this gallery."""
        part: dict[str, Any] = {
            name: [getattr(self, name)[place] for place in places] for name in ("study_id", "patient", "labels")
        }
        part |= {
            name: getattr(self, name)[list(places)] for name in ("rows", "group", "same_text", "elsewhere", "flagged")
        }
        return replace(self, **part)


class Probe(NamedTuple):
    """A report with one thing changed: whose it was, what kind of change it is, and the changed text."""

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

    def _vectors(self, label: str, denies: bool) -> Tensor:
        chosen = [of == label and no == denies for of, no in zip(self.label, self.denies, strict=True)]
        return self.vector[torch.tensor(chosen, dtype=torch.bool)]


@dataclass(frozen=True)
class Probes:
    """Reports with one thing changed, and their vectors.

    Attributes:
        study_id: M names: whose report was changed.
        kind: M kinds of change.
        vector: (M, E) float32.
    """

    study_id: list[str]
    kind: list[str]
    vector: Tensor
