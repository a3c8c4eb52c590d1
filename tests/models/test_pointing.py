"""Maps against places: an encoder that knows the place points at it, and one query is not another's."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bimcvr.contracts import LOCATED, Features
from bimcvr.data.hu.geometry import axes_of
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.hu.placement import Placement
from bimcvr.data.places import Place
from bimcvr.models.localisation.pointing import PointingGame, body_of
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.view_fusion import FirstView
from helpers.toy_modules import HashText, PatchMeans

SIZE, SPACING, WINDOW = (16, 20, 20), (4.0, 3.0, 2.0), (-1000.0, 1000.0)


class TwoFindings(PatchMeans):
    """Very bright patches speak along one axis, the texture of all others along a second one."""

    def forward(self, volume: Tensor) -> Features:
        means = nn.functional.avg_pool3d(volume, self.patch).flatten(1)
        tokens = torch.zeros(*means.shape, self.dim)
        tokens[..., 0] = (means > 0.9).float()
        tokens[..., 1] = torch.where(means > 0.9, 0.5, means)
        tokens = self.scale * tokens
        return Features(tokens.mean(1), tokens)


def placement() -> Placement:
    spans = ModelGrid(SIZE).spans(SIZE, SPACING, None)
    return Placement.of(SIZE, SPACING, np.eye(3), (5.0, -7.0, 11.0), axes_of(np.eye(3)), SIZE, spans)


def study(seed: int) -> tuple[Tensor, Place]:
    """A body of random texture in air with one very bright patch, and its place."""
    rng = np.random.default_rng(seed)
    volume = np.zeros(SIZE, dtype=np.float32)
    volume[2:14, 2:18, 2:18] = 0.5 + 0.05 * rng.standard_normal((12, 16, 16))
    corner = 2 * np.array([rng.integers(1, 6), rng.integers(1, 8), rng.integers(1, 8)])
    volume[tuple(slice(at, at + 2) for at in corner)] = 1
    middle = (corner + 0.5)[::-1] * SPACING[::-1] + (5.0, -7.0, 11.0)
    return torch.from_numpy(volume), Place("nodule", tuple(middle), (2.5, 3.5, 4.5))  # type: ignore[arg-type]


def game(encoder: nn.Module, queries: dict[str, Tensor]) -> np.ndarray:
    """The mean scores over many studies."""
    model = Retriever(encoder, HashText(8), FirstView(), map_volumes=False).eval()  # type: ignore[arg-type]
    scored = PointingGame(model, queries, WINDOW)
    for seed in range(40):
        volume, place = study(seed)
        seen = volume[None, None]
        scored.add(f"s{seed}", [place], placement(), seen, encoder(seen))
    located = scored.located()
    assert located is not None
    assert len(located.study_id) == 40
    assert located.token_mm == (8.0, 6.0, 4.0)
    assert located.how == "tokens"
    return dict(zip(LOCATED, located.scores.mean(0), strict=True))  # type: ignore[return-value]


@pytest.mark.filterwarnings("ignore")
def test_an_encoder_that_knows_the_place_points_at_it_and_the_other_query_is_at_chance() -> None:
    nodule, texture = torch.eye(8)[0], torch.eye(8)[1]
    right = game(TwoFindings(8), {"nodule": nodule, "texture": texture})
    assert right["pointing"] == 1
    assert right["mass"] > 0.3  # linear between tokens, the map reaches a voxel beyond the finding
    assert right["mass"] > 20 * right["chance_mass"]
    assert right["other_pointing"] == pytest.approx(right["chance_pointing"], abs=0.09)
    # the queries exchanged, so are the scores
    permuted = game(TwoFindings(8), {"nodule": texture, "texture": nodule})
    assert permuted["pointing"] == right["other_pointing"]
    assert permuted["other_pointing"] == 1
    assert permuted["mass"] == pytest.approx(permuted["chance_mass"], abs=0.01)


@pytest.mark.filterwarnings("ignore")
def test_a_constant_map_is_at_chance() -> None:
    class Constant(PatchMeans):
        def forward(self, volume: Tensor) -> Features:
            features = super().forward(volume)
            tokens = self.scale * torch.ones_like(features.tokens)
            return Features(tokens.mean(1), tokens)

    scores = game(Constant(8), {"nodule": torch.ones(8), "texture": torch.ones(8)})
    assert scores["pointing"] == pytest.approx(scores["chance_pointing"], abs=1e-6)
    assert scores["mass"] == pytest.approx(scores["chance_mass"], abs=1e-6)


def test_what_the_grid_does_not_show_is_not_scored() -> None:
    model = Retriever(PatchMeans(8), HashText(8), FirstView(), map_volumes=False).eval()  # type: ignore[arg-type]
    scored = PointingGame(model, {"nodule": torch.ones(8)}, WINDOW)
    volume, _ = study(0)
    seen = volume[None, None]
    for place in (
        Place("nodule", (500.0, 0.0, 0.0), (5.0, 5.0, 5.0)),
        Place("mass", (25.0, 20.0, 40.0), (9.0, 9.0, 9.0)),
    ):
        scored.add("s", [place], placement(), seen, model.volume_encoder(seen))
    assert scored.located() is None


@pytest.mark.parametrize("window", [(-1000.0, 1000.0), (-150.0, 250.0), (-1000.0, -600.0)])
def test_the_body_is_found_in_any_window(window: tuple[float, float]) -> None:
    hu = np.full((6, 30, 30), -1000.0)
    hu[:, 5:25, 4:26] = 40
    hu[:, 10:20, 8:22] = -850
    volume = np.clip((hu - window[0]) / (window[1] - window[0]), 0, 1)
    expected = np.zeros(hu.shape, dtype=bool)
    expected[:, 5:25, 4:26] = True
    assert np.array_equal(body_of(volume, window), expected)
    assert body_of(np.zeros((2, 3, 4)), window).all()
