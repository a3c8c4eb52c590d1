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
    assert scored.values == {"side": {"won": 50.0, "studies": 3}, "size": {"won": 50.0, "studies": 1}}
    assert scored.intervals()["side"]["won"] == [0.0, 100.0]
    assert scored.intervals()["size"]["won"] == [50.0, 50.0]


def test_a_model_that_does_not_see_the_change_is_at_half() -> None:
    scored = probe_metrics(IMAGE, TEXT, 3 * TEXT, [0, 1, 2], ["lobe"] * 3, ["a", "b", "c"], resamples=20)
    assert scored.values["lobe"]["won"] == 50.0
    assert scored.intervals()["lobe"]["won"] == pytest.approx([50.0, 50.0])
