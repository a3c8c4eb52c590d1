"""mAP@K and Jaccard@K: worked by hand, and against a slow formula on cohorts without ties."""

import pytest
import torch

from bimcvr.metrics.label_map import label_relevance_metrics


def slow(
    query: torch.Tensor, gallery: torch.Tensor, labels: list[set[str]], patients: list[str], apart: bool, k: int
) -> tuple[float, float]:
    precisions, overlaps = [], []
    for i, mine in enumerate(labels):
        items = [j for j in range(len(labels)) if not (apart and patients[i] == patients[j])]
        relevant = [j for j in items if mine & labels[j]]
        if not mine or not relevant:
            continue
        cosine = torch.nn.functional.cosine_similarity(query[i].double()[None], gallery.double())
        order = sorted(items, key=lambda j: -cosine[j].item())[:k]
        hits = [bool(mine & labels[j]) for j in order]
        gained = sum(sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit)
        precisions.append(100 * gained / min(k, len(relevant)))
        overlaps.append(100 * sum(len(mine & labels[j]) / len(mine | labels[j]) for j in order) / k)
    return sum(precisions) / len(precisions), sum(overlaps) / len(overlaps)


def test_equals_the_slow_formula() -> None:
    random = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 60, 8, generator=random)
    names = ["mass", "nodule", "cyst", "effusion"]
    labels = [
        {name for name, value in zip(names, row, strict=True) if value < 0.3}
        for row in torch.rand(60, 4, generator=random).tolist()
    ]
    patients = [f"p{i // 3}" for i in range(60)]
    sets = [frozenset(of or {"normal"}) for of in labels]
    found = label_relevance_metrics(image, text, sets, patients, ks=(5, 10, 58), resamples=50).values
    directions = {
        "text_to_image": (text, image, False),
        "image_to_text": (image, text, False),
        "image_to_image": (image, image, True),
    }
    for direction, (query, gallery, apart) in directions.items():
        for k in (5, 10):
            precision, overlap = slow(query, gallery, labels, patients, apart, k)
            assert found[direction][f"mAP@{k}"] == pytest.approx(precision)
            assert found[direction][f"Jaccard@{k}"] == pytest.approx(overlap)
    assert "mAP@58" in found["text_to_image"]
    assert "mAP@58" not in found["image_to_image"]  # a patient's three volumes are left out of 60
    assert found["text_to_image"]["queries"] == sum(map(bool, labels))


def test_worked_by_hand() -> None:
    """Four patients along an arc. Volume 0 finds 1 (another finding), 2 (shares one of two).

    AP@2 = (1/2)/2, Jaccard (0 + ½)/2.

    1 shares with nobody and is no query. To 2, 1 and 3 are tied: AP@2 = (½ + ½·½)/2, Jaccard (0 + ½)/2. 3 finds 2, then
    1: AP@2 = 1/2, Jaccard (½ + 0)/2.
    """
    image = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    labels = [frozenset({"mass"}), frozenset({"cyst"}), frozenset({"mass", "nodule"}), frozenset({"mass"})]
    found = label_relevance_metrics(image, image, labels, list("abcd"), ks=(2,), resamples=10).values["image_to_image"]
    assert found["queries"] == 3
    assert found["mAP@2"] == pytest.approx(100 * (0.25 + 0.375 + 0.5) / 3)
    assert found["Jaccard@2"] == pytest.approx(25.0)
    # each has two relevant ones among three: (1/1·2/3 + 1/2·2/3·(1 + 1/2)) / 2
    assert found["chance_mAP@2"] == pytest.approx(100 * (2 / 3 + 0.5) / 2)


def test_a_collapsed_model_is_at_chance() -> None:
    random = torch.Generator().manual_seed(1)
    labels = [
        frozenset({"mass"}) if value < 0.4 else frozenset({"cyst"})
        for value in torch.rand(40, generator=random).tolist()
    ]
    same = torch.ones(40, 3)
    for figures in label_relevance_metrics(
        same, same, labels, [str(i) for i in range(40)], ks=(5, 10), resamples=10
    ).values.values():
        for name in ("mAP@5", "mAP@10", "Jaccard@5", "Jaccard@10"):
            assert figures[name] == pytest.approx(figures[f"chance_{name}"])


def test_normal_is_no_finding() -> None:
    labels = [frozenset({"normal"})] * 5
    assert label_relevance_metrics(torch.eye(5), torch.eye(5), labels, list("abcde"), ks=(1,), resamples=5).values == {}
