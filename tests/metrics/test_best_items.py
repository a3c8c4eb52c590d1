"""The best items equal the head of a full sort, also where ties reach far beyond K."""

import pytest
import torch

from bimcvr.metrics.label_map import label_relevance_metrics
from bimcvr.metrics.ranking.best_items import best_items
from bimcvr.metrics.ranking.tie_blocks import ordered_blocks
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

CPU = torch.device("cpu")


def embeddings(kind: str, rows: int) -> torch.Tensor:
    values = torch.randn(rows, 6, generator=torch.Generator().manual_seed(3))
    if kind == "copies":
        return values[torch.arange(rows) % 5]
    if kind == "collapsed":
        return torch.ones(rows, 6)
    if kind == "a chain of near ties":  # neighbours closer than the tie's width, the ends far apart
        angle = torch.linspace(0, 0.5, rows, dtype=torch.float64)
        return torch.stack([angle.cos(), angle.sin()], dim=1).float()
    return values


@pytest.mark.parametrize("kind", ["distinct", "copies", "collapsed", "a chain of near ties"])
@pytest.mark.parametrize("by_patient", [False, True])
def test_equals_a_full_sort(kind: str, by_patient: bool) -> None:
    rows, k = 700, 10
    values = UnitVectors(embeddings(kind, rows), "image", CPU)
    patient = torch.arange(rows) // 3 if by_patient else None
    relevant = (torch.arange(rows) % 4 == 0).double()
    seen = []
    score = values.exact(slice(None)) @ values.exact(slice(None)).T
    for part, items, best, present in best_items(values, values, torch.arange(0, rows, 7), patient, k):
        seen += part.tolist()
        all_present = torch.ones(len(part), rows) if patient is None else patient[part, None] != patient[None]
        full = ordered_blocks(score[part], relevant.expand(len(part), rows), all_present)
        head = ordered_blocks(best, relevant[items], present).with_rest(full.size.sum(1), full.relevant.sum(1))
        assert torch.allclose(head.precision(k), full.precision(k), atol=1e-12)
        assert torch.allclose(head.average_precision(k), full.average_precision(k), atol=1e-12)
    assert sorted(seen) == list(range(0, rows, 7))


def test_a_query_without_label_or_partner_changes_nothing_for_others() -> None:
    image = embeddings("distinct", 40)
    labels = [frozenset({"mass"} if row % 2 else {"cyst"}) for row in range(40)]
    patients = [str(row // 2) for row in range(40)]
    plain = label_relevance_metrics(image, image, labels, patients, ks=(5,), resamples=5).values
    wider = label_relevance_metrics(
        torch.cat([image, -image[:1]]),
        torch.cat([image, -image[:1]]),
        [*labels, frozenset()],
        [*patients, "x"],
        (5,),
        0,
        5,
    ).values
    for direction, figures in plain.items():
        assert wider[direction]["queries"] == figures["queries"] == 40
