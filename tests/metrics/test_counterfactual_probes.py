"""Counterfactual probes: wins, ties and their intervals."""

import pytest
import torch

from bimcvr.metrics.counterfactual import probe_metrics

IMAGE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
TEXT = torch.tensor([[2.0, 0.1], [0.1, 1.0], [1.0, 0.9]])


def test_wins_losses_and_ties() -> None:
    """Study 0 wins against (0, 1), study 1 loses against (0, 1), study 2 ties with its own mirror image (0.9, 1)."""
    changed = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.9, 1.0], [9.0, 0.45]])
    scored = probe_metrics(
        IMAGE, TEXT, changed, [0, 1, 2, 0], ["side", "side", "side", "size"], ["a", "b", "c"], resamples=200
    )
    assert {name: (of["won"], of["studies"]) for name, of in scored.values.items()} == {
        "side": (50, 3),
        "size": (50, 1),
    }
    assert scored.intervals()["side"]["won"] == [0.0, 100.0]
    assert scored.intervals()["size"]["won"] == [50.0, 50.0]


def test_a_model_that_does_not_see_the_change_is_at_half() -> None:
    scored = probe_metrics(IMAGE, TEXT, 3 * TEXT, [0, 1, 2], ["lobe"] * 3, ["a", "b", "c"], resamples=20)
    assert scored.values["lobe"]["won"] == 50.0
    assert scored.intervals()["lobe"]["won"] == pytest.approx([50.0, 50.0])


def test_what_is_won_without_looking_is_said() -> None:
    """The model prefers every true report, whatever the volume: another patient's wins as often as the own one."""
    text = torch.tensor([[1.0, 1.0]]).repeat(3, 1)
    changed = torch.tensor([[1.0, -1.0]]).repeat(3, 1)
    image = torch.tensor([[1.0, 0.5], [1.0, 0.2], [1.0, 0.9]])
    blind = probe_metrics(image, text, changed, [0, 1, 2], ["side"] * 3, ["a", "b", "c"], resamples=20)
    assert (blind.values["side"]["won"], blind.values["side"]["other_won"]) == (100.0, 100.0)
    seeing = torch.tensor([[1.0, 0.5], [1.0, -0.2], [1.0, -0.9]])
    half = probe_metrics(seeing, text[:1], changed[:1], [0], ["side"], ["a", "b", "b"], resamples=20)
    assert (half.values["side"]["won"], half.values["side"]["other_won"]) == (100.0, 0.0)


def test_only_volumes_of_other_patients_count() -> None:
    torch.manual_seed(0)
    image, text, changed = torch.randn(7, 4), torch.randn(7, 4), torch.randn(9, 4)
    rows, patients = [0, 1, 2, 3, 4, 5, 6, 0, 3], list("aabbccd")
    kinds = ["side"] * 9
    found = probe_metrics(image, text, changed, rows, kinds, patients, resamples=5).values["side"]["other_won"]
    slow = []
    for probe, row in enumerate(rows):
        wins = [
            float(cosine(image[one], text[row]) > cosine(image[one], changed[probe]))
            for one in range(7)
            if patients[one] != patients[row]
        ]
        slow.append(sum(wins) / len(wins))
    assert found == pytest.approx(100 * sum(slow) / len(slow))
    alone = probe_metrics(image[:2], text[:2], changed[:2], [0, 1], ["side"] * 2, ["a", "a"], resamples=5)
    assert "other_won" not in alone.values["side"]


def cosine(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(one, two, dim=0)
