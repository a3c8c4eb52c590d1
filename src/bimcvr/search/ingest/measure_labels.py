"""Measuring how well the prompts of each label rank an index's volumes, on studies the model was not trained on."""

from collections.abc import Collection

import numpy as np
import torch

from bimcvr.contracts import Prompts
from bimcvr.metrics.keyword import keyword_metrics
from bimcvr.search.asked.labels import has_label
from bimcvr.search.index.reader import Index

MOST = 2000
"""How many studies are ranked at most, at equal steps: an interval narrows no further that anyone would see."""

RESAMPLES = 1000


def measure_labels(
    index: Index, prompts: Prompts | None, unseen: Collection[str] | None
) -> dict[str, dict[str, float]]:
    """Measure each label that has prompts, and that some but not all of the studies have.

    The figures are those of `evaluate` (`metrics.keyword_metrics`), but that a narrower finding counts as its broader
    one, as in a search.

    Args:
        index: the index.
        prompts: of its labels.
        unseen: ids of the studies that the model was not trained on; None where that is not known: all are ranked.

    Returns:
        For each label the fields of `query.measured.MeasuredLabel`.
    """
    held_out = np.array(
        [i for i, study in enumerate(index.study_ids) if unseen is None or study in unseen], dtype=np.int64
    )
    if prompts is None or len(held_out) < 2:
        return {}
    chosen = held_out[np.unique(np.linspace(0, len(held_out) - 1, min(MOST, len(held_out)), dtype=np.int64))]
    having = {label: has_label(index, label)[chosen] for label in prompts.labels}
    measurable = {label for label, rows in having.items() if 0 < rows.sum() < len(rows)}
    image = torch.from_numpy(np.asarray(index.image.values[index.image.slot[chosen]]))
    family = keyword_metrics(
        image,
        prompts.without(set(having) - measurable),
        {label: torch.from_numpy(having[label]) for label in measurable},
        [index.patients[i] for i in chosen],
        ks=(),
        resamples=RESAMPLES,
    )
    intervals = family.intervals()
    return {
        label: {
            "average_precision": round(values["AP"], 4),
            "low": round(intervals[label]["AP"][0], 4),
            "high": round(intervals[label]["AP"][1], 4),
            "chance": round(values["chance_AP"], 4),
            "studies": len(chosen),
            "positive": int(having[label].sum()),
            "held_out": unseen is not None,
        }
        for label, values in family.values.items()
    }
