"""Counterfactual probes: does a volume score its own report above the same report with one finding changed?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_draws
from bimcvr.metrics.metric_family import MetricFamily, MetricValues
from bimcvr.metrics.ranking.ranks import TIE
from bimcvr.metrics.ranking.unit_vectors import UnitVectors


def probe_metrics(
    image: Tensor,
    text: Tensor,
    changed: Tensor,
    row: Sequence[int],
    kind: Sequence[str],
    patients: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MetricFamily:
    """Return, for each kind of change, the share of studies whose true report scores higher.

    A tie counts as half a win; the chance level is 50 %.

    Args:
        image: (N, E) floating point, embeddings of the volumes.
        text: (N, E), embeddings of the true reports.
        changed: (M, E), embeddings of the changed reports.
        row: M positions in `image`: whose report was changed.
        kind: M kinds of change.
        patients: N patient ids.
        seed: Seed of the draws.
        resamples: Number of draws.

    Returns:
        `{"side": {"won": percent, "studies": …}, …}`; the draws of `won` resample patients.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(image.detach(), "image", cpu), UnitVectors(text.detach(), "text", cpu)
    changed_texts = UnitVectors(changed.detach(), "changed report", cpu)
    rows = torch.as_tensor(row, dtype=torch.long)
    gap = (images.exact(rows) * (texts.exact(rows) - changed_texts.exact(slice(None)))).sum(1)
    won = torch.where(gap.abs() <= TIE, 0.5, (gap > 0).double())
    values: MetricValues = {}
    draws: dict[str, dict[str, Tensor]] = {}
    for name in dict.fromkeys(kind):
        positions = torch.tensor([position for position, other in enumerate(kind) if other == name])
        per_probe = {"won": 100 * won[positions]}
        values[name] = {"won": per_probe["won"].mean().item(), "studies": len(positions)}
        draws[name] = bootstrap_draws(per_probe, [patients[i] for i in rows[positions].tolist()], seed, resamples)
    return MetricFamily(values, draws)
