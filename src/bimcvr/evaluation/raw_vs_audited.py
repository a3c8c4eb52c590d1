"""Raw against audited: what flagged rows do to the figures, at equal gallery size, and what any model could reach."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.progress import track

from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Draws, mean_outcomes
from bimcvr.metrics.bootstrap import intervals
from bimcvr.metrics.noise_ceiling import ceiling_figures
from bimcvr.metrics.per_query import chance, summary
from bimcvr.metrics.ranks import WAYS, right_answers

CUTS = 200
"""Random cuts of the whole split to the size of its sound part."""


def raw_against_audited(
    runs: Sequence[Embeddings], gallery: Gallery, ks: Sequence[int], draws: Draws, rule: str = "report"
) -> dict[str, Any]:
    """Score the whole split, its rows without flags, and the whole split cut to their number.

    The sound part is a smaller gallery, in which everything is easier to find. The cut takes that away: what is left
    of the difference is the flagged rows' doing.

    Args:
        runs: embeddings of one method in one or several runs, with the gallery's rows in its order.
        gallery: the rows of the split; its `flagged` and `elsewhere` decide.
        ks: the K of R@K.
        draws: of the intervals and the cuts.
        rule: which answers are right.

    Returns:
        `whole`, `sound` and `whole_cut`, each with n, metrics, intervals (of the cut: 2.5 and 97.5 % of the 200 cuts)
        and chance; and the noise `ceiling` of the whole split and of the sound rows.
    """
    places = list(range(len(gallery.rows)))
    sound = [place for place in places if not gallery.flagged[place]]
    parts = {"whole": places, "sound": sound}
    block: dict[str, Any] = {name: _part(runs, gallery, part, ks, draws, rule) for name, part in parts.items() if part}
    if 0 < len(sound) < len(places):
        block["whole_cut"] = _cut(runs, gallery, len(sound), ks, draws, rule)
    block["ceiling"] = {name: ceiling_figures(gallery.only(part), ks, rule) for name, part in parts.items() if part}
    block["flagged"], block["elsewhere"] = int(gallery.flagged.sum()), int(gallery.elsewhere.sum())
    return block


def _part(
    runs: Sequence[Embeddings], gallery: Gallery, places: Sequence[int], ks: Sequence[int], draws: Draws, rule: str
) -> dict[str, Any]:
    rows = gallery.only(places)
    of = mean_outcomes([run.only(list(places)) for run in runs], rows, ks, rule)
    return {
        "n": len(places),
        "metrics": {way: summary(of[way]) for way in WAYS},
        "intervals": {way: intervals(of[way], rows.patient, draws.seed, draws.resamples) for way in WAYS},
        "chance": chance(right_answers(rows, rule), ks),
    }


def _cut(
    runs: Sequence[Embeddings], gallery: Gallery, size: int, ks: Sequence[int], draws: Draws, rule: str
) -> dict[str, Any]:
    generator = np.random.default_rng(draws.seed)
    found, levels = [], []
    for _ in track(range(CUTS), description="random cuts of the split"):
        places = np.sort(generator.choice(len(gallery.rows), size, replace=False)).tolist()
        rows = gallery.only(places)
        of = mean_outcomes([run.only(places) for run in runs], rows, ks, rule)
        found.append({way: summary(of[way]) for way in WAYS})
        levels.append(chance(right_answers(rows, rule), ks))
    values = {way: {name: np.array([cut[way][name] for cut in found]) for name in found[0][way]} for way in WAYS}
    return {
        "n": size,
        "cuts": CUTS,
        "metrics": {way: {name: float(of.mean()) for name, of in values[way].items()} for way in WAYS},
        "intervals": {
            way: {name: np.quantile(of, [0.025, 0.975]).tolist() for name, of in values[way].items()} for way in WAYS
        },
        "chance": {name: float(np.mean([level[name] for level in levels])) for name in levels[0]},
    }
