"""What a loss is given of a batch beside the vectors of its volumes and texts: as far as it asks for it."""

from collections.abc import Callable, Sequence

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
    """

    def __init__(
        self,
        objective: RetrievalLoss,
        targets: TrainingTargets,
        prompts: Sequence[str],
        map_text: Callable[[list[str] | Tensor], Tensor],
    ) -> None:
        self._objective, self._targets, self._prompts, self._map_text = objective, targets, tuple(prompts), map_text

    def of(self, index: Tensor) -> dict[str, Tensor]:
        """Return them for manifest rows (B,) by the names of `RetrievalLoss.forward`; every process has to call it."""
        inputs: dict[str, Tensor] = {}
        targets, objective = self._targets, self._objective
        if objective.double_reports and not objective.keywords:
            return inputs
        candidates = objective.candidates(index)
        if not objective.double_reports:
            inputs["same_report"] = targets.same_report(index, candidates)
        if objective.keywords and targets.labels:
            sentences, _, _ = prompt_sentences(targets.labels, self._prompts, ())
            prompts = normalize(self._map_text(sentences), dim=-1)
            inputs["prompts"] = prompts.view(len(targets.labels), len(self._prompts), -1).mean(1)
            inputs["has_label"] = targets.has_label(candidates)
        return inputs
