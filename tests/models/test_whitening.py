"""Whitening of text features: equal spread, statistics from training alone, part of the checkpoint."""

import pytest
import torch

from bimcvr.errors import UserError
from bimcvr.models.retriever import Retriever
from bimcvr.models.text.whitening import CENTRED, Whitening
from helpers.toy_modules import HashText, PlainConv


def narrow(n: int = 400) -> torch.Tensor:
    """Features that share a large mean and differ a hundred times more along one axis than along others."""
    random = torch.Generator().manual_seed(0)
    return 5 + torch.randn(n, 6, generator=random) * torch.tensor([1.0, 1, 1, 1, 1, 0.05])


def test_all_axes_get_the_same_spread() -> None:
    whitening, features = Whitening(6), narrow()
    whitening.fit(features)
    covariance = torch.cov(whitening(features).T)
    assert torch.diag(covariance).min() > 0.6  # the floor holds the smallest back a little
    assert (covariance - torch.diag(torch.diag(covariance))).abs().max() < 1e-3
    left = torch.linalg.vector_norm(whitening(features).mean(0)) / torch.linalg.vector_norm(
        features.mean(0) @ whitening.axes
    )
    assert left == pytest.approx(1 - CENTRED, rel=1e-3)


def test_noise_below_the_floor_is_not_blown_up() -> None:
    features = narrow()
    features[:, 5] = 5 + 1e-6 * torch.randn(400, generator=torch.Generator().manual_seed(1))
    whitening = Whitening(6)
    whitening.fit(features)
    assert whitening(features).var(0).sum() < 5.1


def test_fewer_reports_than_dimensions() -> None:
    whitening = Whitening(6)
    whitening.fit(narrow(3))
    assert whitening(narrow(10)).isfinite().all()


def test_statistics_travel_with_the_checkpoint() -> None:
    model = Retriever(PlainConv(), HashText(), embed_dim=12, whiten_text=True)
    assert model.whitening is not None
    plain = model.embed_text(["a mass", "no mass"])
    model.whitening.fit(torch.randn(50, 16))
    other = Retriever(PlainConv(), HashText(), embed_dim=12, whiten_text=True)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.embed_text(["a mass"]), model.embed_text(["a mass"]))
    assert not torch.equal(plain[:1], model.embed_text(["a mass"]))
    assert bool(other.whitening.fitted)  # type: ignore[union-attr]


def test_the_text_encoder_s_own_space_is_left_alone() -> None:
    with pytest.raises(UserError, match=r"needs model\.embed_dim"):
        Retriever(PlainConv(), HashText(), whiten_text=True)
