"""A result as a whole: a set whose every figure was worked out by hand, several seeds, what is absent and why."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bimcvr.contracts import Gallery, Probes, Prompts
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.result import Resampling, build_result

FEW = Resampling(seed=0, resamples=200)


def gallery(labels: list[set[str]], group: list[int] | None = None) -> Gallery:
    n = len(labels)
    return Gallery(
        rows=np.arange(n),
        study_id=[f"s{i}" for i in range(n)],
        group=np.array(group or range(n)),
        same_text=np.arange(n),
        elsewhere=np.zeros(n, dtype=bool),
        flagged=np.zeros(n, dtype=bool),
        patient=[f"p{i}" for i in range(n)],
        labels=[frozenset(of) for of in labels],
        description={"split": "test"},
    )


# Four studies; the reports of 2 and 3 are one, volumes 1 and 3 are the same.
IMAGE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
TEXT = torch.tensor([[0.0, 5.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 2.0]])
PROMPTS = Prompts(
    ["There is a mass.", "There is no mass."], ["mass", "mass"], [False, True], torch.tensor([[0.0, 1, 0], [1.0, 0, 0]])
)
PROBES = Probes(
    ["s2", "s1", "gone"], ["side", "side", "side"], torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
)


def test_the_zero_shot_score_is_what_the_run_chose_on_val() -> None:
    """Affirming alone volumes score 0, 1, 0, 1: of masses 0, 1 and 3 two are above volume 2 and one is tied."""
    chosen = {"zero_shot_score": {"used": "affirming", "val": {"affirming": 0.9, "pair": 0.6}}}
    run = replace(whole(), provenance=chosen)
    result = build_result([run], gallery([{"mass"}, {"mass"}, {"cyst"}, {"mass"}]), ks=(1,), resampling=FEW)
    assert result["metrics"]["zero_shot"]["mass"]["AUROC"] == pytest.approx(2.5 / 3)
    assert result["metrics"]["zero_shot"]["mass"]["AUROC_pair"] == pytest.approx(2 / 3)
    assert result["zero_shot_score"] == [
        "the cosine of the volume with the affirming sentences, chosen on the run's val (mean AUROC there: affirming"
        " 0.900, pair 0.600)"
    ]


def whole(prompts: Prompts | None = PROMPTS, probes: Probes | None = PROBES) -> Embeddings:
    return Embeddings([f"s{i}" for i in range(4)], IMAGE, TEXT, prompts, probes)


def test_every_figure_worked_by_hand() -> None:
    """Text → image: report 0 scores 1 with volumes 1 and 3, 0 with its own and 2: rank 3.5.

    Report 1: .8 with 1 and 3: 1.5.
    Reports 2 and 3: 1 with volume 2, which both call their own: rank 1.

    Image → text: volume 0 scores .6 with report 1 and 0 with all others, its own among three tied: rank 3. Volume 1: 1
    with report 0, .8 with its own: 2. Volume 2: 1 with both of its reports: 1. Volume 3: 1 and .8 with 0 and 1, then
    two that are both its own: 3.
    """
    result = build_result(
        [whole()], gallery([{"mass"}, {"mass"}, {"cyst"}, {"mass"}], [0, 1, 2, 2]), ks=(1, 2, 3, 50), resampling=FEW
    )
    third = 1 / 3
    assert result["metrics"]["text_to_image"] == pytest.approx(
        {
            "R@1": 100 * (0 + 0.5 + 1 + 1) / 4,
            "R@2": 100 * (0 + 1 + 1 + 1) / 4,
            "R@3": 100 * (0.5 + 1 + 1 + 1) / 4,
            "MRR": ((third + 0.25) / 2 + (1 + 0.5) / 2 + 1 + 1) / 4,
            "MdR": 1.25,
            "MnR": (3.5 + 1.5 + 1 + 1) / 4,
        }
    )
    assert result["metrics"]["image_to_text"] == pytest.approx(
        {
            "R@1": 100 * 1 / 4,
            "R@2": 100 * (third + 1 + 1 + 0) / 4,
            "R@3": 100 * (2 * third + 1 + 1 + 1) / 4,
            "MRR": ((0.5 + third + 0.25) / 3 + 0.5 + 1 + third) / 4,
            "MdR": 2.5,
            "MnR": (3 + 2 + 1 + 3) / 4,
        }
    )
    # two queries have one right answer of four, two have two: 1/4 and 1/2 at the first place
    assert result["chance"]["R@1"] == pytest.approx(100 * (0.25 + 0.25 + 0.5 + 0.5) / 4)
    assert result["chance"]["MnR"] == pytest.approx((2.5 + 2.5 + 5 / 3 + 5 / 3) / 4)
    assert result["queries_with_several_right_answers"] == 2
    assert result["queries_with_ties"] == {"text_to_image": 2, "image_to_text": 1}
    # the mass query (0, 1, 0): volumes 1 and 3 tied at 1, then 0 and 2 tied: AP = (1 + 1 + (3/3 + 3/4)/2)/3
    assert result["metrics"]["keyword"]["mass"]["AP"] == pytest.approx(100 * (1 + 1 + (1 + 0.75) / 2) / 3)
    # margins 0: −1, 1: 1, 2: 0, 3: 1; the only other is 2: two of three masses are above it
    assert result["metrics"]["zero_shot"]["mass"]["AUROC"] == pytest.approx(2 / 3)
    assert result["metrics"]["zero_shot_mean"]["labels"]["AUROC"] == pytest.approx(2 / 3)
    assert "as usual: no run has chosen" in result["zero_shot_score"][0]
    # study 2 wins (1 against 0), study 1 wins (.8 against 0); the third probe is of no study of the gallery
    assert result["metrics"]["probes"] == {"side": {"won": 100.0, "other_won": pytest.approx(125 / 3), "studies": 2}}
    assert result["notes"] == []
    json.dumps(result, allow_nan=False)


def test_the_diagonal_rule_counts_the_own_row_alone() -> None:
    result = build_result([whole()], gallery([set()] * 4, [0, 1, 2, 2]), resampling=FEW, rule="diagonal")
    # report 3: volume 2 scores 1, its own 0 like volume 0, volume 1 too
    assert result["metrics"]["text_to_image"]["MnR"] == pytest.approx((3.5 + 1.5 + 1 + 3) / 4)
    assert result["queries_with_several_right_answers"] == 0
    assert "alone is right" in result["rule"]


def test_what_is_absent_is_said() -> None:
    result = build_result([whole(None, None)], gallery([{"mass"}] * 4), resampling=FEW)
    assert "keyword" not in result["metrics"]
    assert "probes" not in result["metrics"]
    assert [note.split(" are absent")[0] for note in result["notes"]] == [
        "keyword and zero-shot metrics",
        "counterfactual probes",
    ]
    result = build_result([whole()], gallery([set()] * 4), resampling=FEW)
    assert "the manifest has no labels" in result["notes"][0]


def test_several_seeds() -> None:
    """Two runs, one perfect: every mean figure is the mean of the two, the sd stands apart."""
    perfect = Embeddings([f"s{i}" for i in range(4)], torch.eye(4), torch.eye(4))
    other = Embeddings([f"s{i}" for i in range(4)], torch.eye(4), torch.eye(4)[[1, 0, 2, 3]])
    both = build_result([perfect, other], gallery([{"mass"}, {"mass"}, {"cyst"}, {"mass"}]), ks=(1,), resampling=FEW)
    assert both["runs"] == 2
    assert both["metrics"]["text_to_image"]["R@1"] == pytest.approx(75.0)
    assert both["seeds_sd"]["text_to_image"]["R@1"] == pytest.approx(50 / math.sqrt(2))
    single = [
        build_result([run], gallery([{"mass"}, {"mass"}, {"cyst"}, {"mass"}]), ks=(1,), resampling=FEW)
        for run in (perfect, other)
    ]
    for direction, of in both["metrics"]["label_relevance"].items():
        for name, value in of.items():
            assert value == pytest.approx(
                np.mean([run["metrics"]["label_relevance"][direction][name] for run in single])
            )


def test_intervals_hold_the_figures() -> None:
    random = torch.Generator().manual_seed(0)
    image = torch.randn(80, 16, generator=random)
    text = image + 1.5 * torch.randn(80, 16, generator=random)
    labels = [{"mass"} if value < 0.4 else {"cyst"} for value in torch.rand(80, generator=random).tolist()]
    rows = gallery(labels)
    prompts = Prompts(["a", "b"], ["mass", "mass"], [False, True], torch.randn(2, 16, generator=random))
    result = build_result([Embeddings(rows.study_id, image, text, prompts)], rows, resampling=FEW)
    compared = 0
    for family, bounds in result["intervals"].items():
        values = result["metrics"][family]
        flat = (
            bounds
            if family.endswith(("to_image", "to_text"))
            else {(k, n): v for k, of in bounds.items() for n, v in of.items()}
        )
        for name, (low, high) in flat.items():
            value = values[name] if isinstance(name, str) else values[name[0]][name[1]]
            assert low <= value <= high, (family, name)
            compared += 1
    assert compared > 25


def test_texts_about_nothing_in_the_split_are_said() -> None:
    strangers = Probes(["elsewhere"], ["side"], torch.tensor([[0.0, 1.0, 0.0]]))
    result = build_result([whole(probes=strangers)], gallery([{"cyst"}, {"Mass"}, {"cyst"}, {"cyst"}]), resampling=FEW)
    prompts, probes = result["notes"]
    assert "the prompts name mass, the rows have Mass, cyst" in prompts
    assert "the changed reports are of elsewhere, the split has s0, s1, s2 and 1 more" in probes
    result = build_result([whole()], gallery([{"mass"}] * 4), resampling=FEW)
    assert [note.split(":")[0] for note in result["notes"]] == ["zero-shot metrics are absent"]
