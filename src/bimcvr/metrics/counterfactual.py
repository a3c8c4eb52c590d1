"""Counterfactual probes: does a study score its own report above the same report with one thing changed?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bimcvr.metrics.bootstrap import RESAMPLES, bootstrap
from bimcvr.metrics.metric_family import Figures, Scored
from bimcvr.metrics.ranks import TIE
from bimcvr.metrics.unit_vectors import UnitVectors


def probe_figures(
    image: Tensor,
    text: Tensor,
    changed: Tensor,
    row: Sequence[int],
    kind: Sequence[str],
    patients: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scored:
    """Return for each kind of change the share of studies whose true report wins; a tie is half a win, chance is 50 %.

    Args:
        image: (N, E) floating point.
        text: (N, E), of the true reports.
        changed: (M, E), of changed reports.
        row: M positions in `image`: whose report was changed.
        kind: M kinds of change.
        patients: N patient ids.
        seed: of the draws.
        resamples: their number.

    Returns:
        `{"side": {"won": percent, "studies": …}, …}`; the draws of `won` resample patients.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(image.detach(), "image", cpu), UnitVectors(text.detach(), "text", cpu)
    others = UnitVectors(changed.detach(), "changed report", cpu)
    rows = torch.as_tensor(row, dtype=torch.long)
    gap = (images.exact(rows) * (texts.exact(rows) - others.exact(slice(None)))).sum(1)
    won = torch.where(gap.abs() <= TIE, 0.5, (gap > 0).double())
    found: Figures = {}
    drawn: dict[str, dict[str, Tensor]] = {}
    for name in dict.fromkeys(kind):
        places = torch.tensor([place for place, of in enumerate(kind) if of == name])
        outcome = {"won": 100 * won[places]}
        found[name] = {"won": outcome["won"].mean().item(), "studies": len(places)}
        drawn[name] = bootstrap(outcome, [patients[i] for i in rows[places].tolist()], seed, resamples)
    return Scored(found, drawn)
