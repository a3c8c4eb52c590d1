"""Counterfactual probes: does a volume score its own report above the same report with one finding changed?

A model can win without looking: "in the left middle lobe" is no sentence of any report. So the same two texts are also
put to the volumes of all other patients.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap_draws
from bimcvr.metrics.metric_family import MetricFamily, MetricValues
from bimcvr.metrics.ranking.ranks import TIE
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

_BLOCK = 256
"""Changed reports that are scored with all volumes at a time."""


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

    A tie counts as half a win. Chance is 50 % for a model that knows nothing of the texts either; what `other_won` says
    is won by the texts alone.

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
        `{"side": {"won": percent, "other_won": percent, "studies": …}, …}`: won by the study's own volume, and by those
        of other patients (mean over the studies; left out where there are none). The draws of `won` resample patients.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(image.detach(), "image", cpu), UnitVectors(text.detach(), "text", cpu)
    changed_texts = UnitVectors(changed.detach(), "changed report", cpu)
    rows = torch.as_tensor(row, dtype=torch.long)
    change = texts.exact(rows) - changed_texts.exact(slice(None))
    won = _wins((images.exact(rows) * change).sum(1))
    other = _won_by_others(images.exact(slice(None)), change, rows, patients)
    values: MetricValues = {}
    draws: dict[str, dict[str, Tensor]] = {}
    for name in dict.fromkeys(kind):
        positions = torch.tensor([position for position, other in enumerate(kind) if other == name])
        per_probe = {"won": 100 * won[positions]}
        elsewhere = other[positions][~other[positions].isnan()]
        values[name] = {
            "won": per_probe["won"].mean().item(),
            **({"other_won": 100 * elsewhere.mean().item()} if len(elsewhere) else {}),
            "studies": len(positions),
        }
        draws[name] = bootstrap_draws(per_probe, [patients[i] for i in rows[positions].tolist()], seed, resamples)
    return MetricFamily(values, draws)


def _wins(gap: Tensor) -> Tensor:
    return torch.where(gap.abs() <= TIE, 0.5, (gap > 0).double())


def _won_by_others(images: Tensor, change: Tensor, rows: Tensor, patients: Sequence[str]) -> Tensor:
    """Return the share of other patients' volumes that prefer the true report to each changed one, (M,); NaN for none.

    Args:
        images: (N, E) unit vectors.
        change: (M, E), true minus changed report.
        rows: (M,), whose report it is.
        patients: N patient ids.
    """
    number = {name: position for position, name in enumerate(dict.fromkeys(patients))}
    patient = torch.tensor([number[name] for name in patients])
    shares = []
    for start in range(0, len(rows), _BLOCK):
        part, own = change[start : start + _BLOCK], rows[start : start + _BLOCK]
        wins = _wins(part @ images.T).masked_fill(patient[own][:, None] == patient, torch.nan)
        shares.append(wins.nanmean(1))
    return torch.cat(shares) if shares else torch.empty(0, dtype=torch.float64)
