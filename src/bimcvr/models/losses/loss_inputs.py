"""What a loss is given of a batch beside the vectors of its volumes and texts: as far as it asks for it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bimcvr.contracts import RetrievalLoss
from bimcvr.metrics.prompts import prompt_sentences
from bimcvr.models.losses.training_targets import TrainingTargets


class LossInputs:
    """Looks up the further inputs of a loss for the rows of a batch.

    Args:
        objective: the loss, which says what it asks for.
        targets: of the training rows.
        prompts: sentences that ask for a label.
        map_text: maps n texts, or their features, into the common space → (n, E).
        reports: the features of the whole reports of the N training rows, in their order, where the loss asks for
            them: a text encoder that is not trained computes them once.
    """

    def __init__(
        self,
        objective: RetrievalLoss,
        targets: TrainingTargets,
        prompts: Sequence[str],
        map_text: Callable[[list[str] | Tensor], Tensor],
        reports: Tensor | None = None,
    ) -> None:
        self._objective, self._targets, self._prompts, self._map_text = objective, targets, tuple(prompts), map_text
        self._reports = reports

    def of(self, index: Tensor) -> dict[str, Tensor]:
        """Return them for manifest rows (B,) by the names of `RetrievalLoss.forward`; every process has to call it."""
        inputs: dict[str, Tensor] = {}
        targets, objective = self._targets, self._objective
        if objective.double_reports and not objective.reads_labels() and self._reports is None:
            return inputs
        candidates = objective.candidates(index)
        if not objective.double_reports:
            inputs["same_report"] = targets.same_report(index, candidates)
        if objective.reads_labels() and targets.labels:
            sentences, _, _ = prompt_sentences(targets.labels, self._prompts, ())
            prompts = normalize(self._map_text(sentences), dim=-1)
            inputs["prompts"] = prompts.view(len(targets.labels), len(self._prompts), -1).mean(1)
            inputs["has_label"] = targets.has_label(candidates)
        if self._reports is not None:
            # the batch's own are among the texts already; every process has all of them, so nothing is gathered
            inputs["reports"] = self._map_text(self._reports)
            inputs["not_negative"] = targets.same_report(index, targets.rows) | torch.isin(targets.rows, candidates)
        return inputs
