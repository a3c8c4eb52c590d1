"""Keyword and zero-shot figures: worked by hand, against slow formulas, and their intervals against a naive loop."""

import numpy as np
import pytest
import torch
from torch import Tensor

from bimcvr.contracts import Prompts
from bimcvr.errors import UserError
from bimcvr.metrics.bootstrap import patient_draws
from bimcvr.metrics.keyword import keyword_metrics, rows_with_label
from bimcvr.metrics.zero_shot import best_zero_shot_score, macro_average, zero_shot_metrics

LABELS = [frozenset({"mass"}), frozenset({"mass", "nodule"}), frozenset(), frozenset({"nodule"})]
IMAGE = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.0]])


def asking(**vectors: list[list[float]]) -> Prompts:
    """Prompts whose labels are the names; a name that begins with `no_` denies."""
    rows = [(name, vector) for name, of in vectors.items() for vector in of]
    return Prompts(
        [f"sentence {i}" for i in range(len(rows))],
        [name.removeprefix("no_") for name, _ in rows],
        [name.startswith("no_") for name, _ in rows],
        torch.tensor([vector for _, vector in rows]),
    )


def test_worked_by_hand() -> None:
    """The query for a mass is (1, 0): images in the order 0, 1, 2, 3, of which 0 and 1 have a mass.

    That for a nodule is the mean of (1, 0) and (0, 1), of either length: 1 first, then 0 and 2 tied, then 3. A nodule
    is in 1 and 3: AP = (1 + 2/4) / 2.
    """
    prompts = asking(mass=[[2.0, 0.0]], nodule=[[5.0, 0.0], [0.0, 0.1]])
    found = keyword_metrics(
        IMAGE, prompts, rows_with_label(LABELS, prompts.labels), list("abcd"), ks=(1, 2, 9), resamples=50
    ).values
    assert found["mass"] == pytest.approx(
        {
            "P@1": 100.0,
            "P@2": 100.0,
            "AP": 100.0,
            "lift@1": 2.0,
            "lift@2": 2.0,
            "prevalence": 50.0,
            "chance_AP": found["mass"]["chance_AP"],
        }
    )
    assert found["nodule"]["P@1"] == 100.0
    assert found["nodule"]["P@2"] == 50.0
    assert found["nodule"]["AP"] == pytest.approx(75.0)
    # two relevant of four in random order: mean of (1/a + 2/b)/2 over the six places a < b
    places = [(a, b) for a in range(1, 5) for b in range(a + 1, 5)]
    assert found["nodule"]["chance_AP"] == pytest.approx(100 * np.mean([(1 / a + 2 / b) / 2 for a, b in places]))


def test_zero_shot_worked_by_hand() -> None:
    """Margins along the x axis are 2 cos: 2, √2, 0, −2. Mass: both above both others. Nodule (1, 3): pairs (1,0) lost,
    (1,2) won, (3,0) and (3,2) lost: 1/4."""
    along, against = [[1.0, 0.0]], [[-1.0, 0.0]]
    prompts = asking(mass=along, no_mass=against, nodule=along, no_nodule=against, cyst=[[1.0, 1.0]])
    found = zero_shot_metrics(IMAGE, prompts, rows_with_label(LABELS, prompts.labels), list("abcd"), resamples=50)
    assert {label: of["AUROC"] for label, of in found.values.items()} == {"mass": 1.0, "nodule": 0.25}
    assert found.intervals()["mass"]["AUROC"] == [1.0, 1.0]


def test_the_zero_shot_score_is_chosen_by_the_mean_over_labels() -> None:
    """Cosines with "mass" are 1, .7, 0, −1; with its denial 1, .7, 0, −1 too, so that the pair sees nothing (0.5).

    Nodules (1, 3) are found by the pair: cosines with (0, 1) are 0, .7, 1, 0, of (1, 0), (1, 2), (3, 0) and (3, 2) one
    is won and one tied: 3/8. Minus those with (1, 1), .7, 1, .7, −.7, they are −.7, −.3, .3, .7: three are won.
    """
    prompts = asking(mass=[[1.0, 0.0]], no_mass=[[1.0, 0.0]], nodule=[[0.0, 1.0]], no_nodule=[[1.0, 1.0]])
    relevant = rows_with_label(LABELS, prompts.labels)
    pair = zero_shot_metrics(IMAGE, prompts, relevant, list("abcd"), resamples=30, score="pair")
    assert pair.values == {
        "mass": {"AUROC": 0.5, "AUROC_affirming": 1.0, "AUROC_pair": 0.5},
        "nodule": {"AUROC": 0.75, "AUROC_affirming": 0.375, "AUROC_pair": 0.75},
    }
    alone = zero_shot_metrics(IMAGE, prompts, relevant, list("abcd"), resamples=30, score="affirming")
    assert {label: of["AUROC"] for label, of in alone.values.items()} == {"mass": 1.0, "nodule": 0.375}
    mean = macro_average(alone)
    assert mean.values == {"labels": {"AUROC": 0.6875, "AUROC_affirming": 0.6875, "AUROC_pair": 0.625, "count": 2.0}}
    drawn = torch.stack([alone.draws[label]["AUROC"] for label in ("mass", "nodule")])
    both = ~drawn.isnan().any(0)
    assert 0 < both.sum() < 30, "no resample lacks a label: the mean of what is left is not tried"
    torch.testing.assert_close(mean.draws["labels"]["AUROC"][both], drawn[:, both].mean(0))
    assert best_zero_shot_score(IMAGE, prompts, relevant) == ("affirming", {"affirming": 0.6875, "pair": 0.625})
    only_nodule = {**relevant, "mass": torch.zeros(4, dtype=torch.bool)}
    assert best_zero_shot_score(IMAGE, prompts, only_nodule) == ("pair", {"affirming": 0.375, "pair": 0.75})
    nothing = {label: torch.zeros(4, dtype=torch.bool) for label in prompts.labels}
    assert best_zero_shot_score(IMAGE, prompts, nothing) is None


def cohort(n: int = 90) -> tuple[Tensor, Prompts, list[frozenset[str]], list[str]]:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(n, 6, generator=random)
    image[10:14] = image[10]  # ties
    names = ["mass" if value < 0.3 else "" for value in torch.rand(n, generator=random).tolist()]
    labels = [frozenset({name}) if name else frozenset() for name in names]
    return (
        image,
        asking(mass=[[1.0, 0, 0, 0, 0, 1]], no_mass=[[0.0, 1, 0, 0, 0, 1]]),
        labels,
        [f"p{i // 2}" for i in range(n)],
    )


def test_intervals_equal_a_naive_loop_over_the_same_draws() -> None:
    image, prompts, labels, patients = cohort()
    wanted = rows_with_label(labels, ["mass"])
    keyword = keyword_metrics(image, prompts, wanted, patients, ks=(5, 20), seed=3, resamples=300)
    zero = zero_shot_metrics(image, prompts, wanted, patients, seed=3, resamples=300)
    names = sorted(set(patients))
    rows_of = {name: [i for i, patient in enumerate(patients) if patient == name] for name in names}
    slow: list[dict[str, float]] = []
    for table in patient_draws(len(names), 3, 300):
        for times in table.tolist():
            rows = [
                row for name, count in zip(names, times, strict=True) for _ in range(count) for row in rows_of[name]
            ]
            part = {"mass": wanted["mass"][rows]}
            one = keyword_metrics(image[rows], prompts, part, ["x"] * len(rows), ks=(5, 20), resamples=1).values["mass"]
            one["AUROC"] = zero_shot_metrics(image[rows], prompts, part, ["x"] * len(rows), resamples=1).values["mass"][
                "AUROC"
            ]
            slow.append(one)
    for name, bounds in {**keyword.intervals()["mass"], **zero.intervals()["mass"]}.items():
        assert bounds == pytest.approx(np.quantile([one[name] for one in slow], [0.025, 0.975]).tolist()), name


def test_a_collapsed_model_has_the_prevalence() -> None:
    image, prompts, labels, patients = cohort()
    found = keyword_metrics(
        torch.ones_like(image), prompts, rows_with_label(labels, ["mass"]), patients, resamples=20
    ).values["mass"]
    assert [found["P@20"], found["P@50"]] == pytest.approx([found["prevalence"]] * 2)
    assert found["AP"] == pytest.approx(found["chance_AP"])
    assert found["lift@20"] == pytest.approx(1.0)
    assert "P@100" not in found  # above the gallery


def test_order_of_images_does_not_matter() -> None:
    image, prompts, labels, patients = cohort()
    order = torch.randperm(len(image), generator=torch.Generator().manual_seed(1)).tolist()
    found = keyword_metrics(image, prompts, rows_with_label(labels, ["mass"]), patients, resamples=20).values["mass"]
    wanted = rows_with_label([labels[i] for i in order], ["mass"])
    moved = keyword_metrics(image[order], prompts, wanted, [patients[i] for i in order], resamples=20)
    assert moved.values["mass"] == pytest.approx(found)


def test_a_prompt_that_is_not_a_number_is_refused() -> None:
    image, _, labels, patients = cohort()
    prompts = asking(mass=[[float("nan"), 0, 0, 0, 0, 0]])
    with pytest.raises(UserError, match="1 of 1 prompt embeddings are not finite"):
        keyword_metrics(image, prompts, rows_with_label(labels, ["mass"]), patients, resamples=2)


def test_a_label_that_nobody_bears_is_left_out() -> None:
    image, _, labels, patients = cohort()
    prompts = asking(mass=[[1.0, 0, 0, 0, 0, 0]], goiter=[[1.0, 0, 0, 0, 0, 0]])
    assert list(
        keyword_metrics(image, prompts, rows_with_label(labels, prompts.labels), patients, resamples=2).values
    ) == ["mass"]
