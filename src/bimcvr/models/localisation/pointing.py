"""Scoring maps of relevance against the places of findings, volume by volume (`bimcvr.metrics.localisation`)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bimcvr.contracts import LOCATED, Features, Located
from bimcvr.data.hu.chest import TISSUE, tissue_mask
from bimcvr.data.hu.placement import Placement
from bimcvr.data.places import Place
from bimcvr.metrics.localisation import chance_scores, region_scores
from bimcvr.models.localisation.relevance import Localisable, relevance
from bimcvr.models.localisation.spread import on_model_grid

LEAST_BODY = 0.05
"""A smaller share of the grid is no body: a phantom of something else, or a crop without tissue."""


class PointingGame:
    """The findings of one evaluation, as far as their maps were scored.

    Args:
        model: the retriever, in evaluation mode.
        queries: for each finding its query (E,).
        window: HU that became 0 and 1 in the volumes.
    """

    def __init__(self, model: Localisable, queries: Mapping[str, Tensor], window: tuple[float, float]) -> None:
        self._model, self._queries, self._window = model, dict(sorted(queries.items())), window
        self._study: list[str] = []
        self._finding: list[str] = []
        self._scores: list[list[float]] = []
        self._diameter: list[float] = []
        self._token: list[np.ndarray] = []
        self._how: set[str] = set()

    def add(
        self, study: str, places: Sequence[Place], placement: Placement, volume: Tensor, features: Features
    ) -> None:
        """Score the maps of one volume for each of its findings, and for one that it does not have.

        A finding with several places has one query, and all of them are its region. One that the model's grid does not
        show is left out.

        Args:
            study: its name.
            places: where its findings are.
            placement: where the model's grid lies on its source.
            volume: (1, 1, D, H, W), as the model sees it.
            features: of the volume.
        """
        own = [finding for finding in self._queries if any(place.finding == finding for place in places)]
        if not own:
            return
        others = {finding: _other(finding, list(self._queries), {place.finding for place in places}) for finding in own}
        asked = sorted({*own, *filter(None, others.values())})
        found = relevance(self._model, volume, torch.stack([self._queries[name] for name in asked]), features)
        size = tuple(volume.shape[-3:])
        maps = {name: on_model_grid(values, found.grid, size) for name, values in zip(asked, found.values, strict=True)}
        affine = placement.model_affine()
        token = np.abs(affine[:3, :3]) @ np.array(found.token)
        body = body_of(volume[0, 0].float().cpu().numpy(), self._window)
        for finding in own:
            here = [place for place in places if place.finding == finding]
            inside = np.max([place.share(affine, size) for place in here], axis=0)
            grown = np.max([place.share(affine, size, token) for place in here], axis=0) > 0.5
            if not (inside[body] > 0).any():
                continue
            chance = chance_scores(body, inside, grown)
            right = region_scores(maps[finding], body, inside, grown)
            other = others[finding]
            wrong = region_scores(maps[other], body, inside, grown) if other else (np.nan, np.nan)
            row = {
                "pointing": right[0],
                "chance_pointing": chance[0],
                "other_pointing": wrong[0],
                "mass": right[1],
                "chance_mass": chance[1],
                "other_mass": wrong[1],
            }
            self._study.append(study)
            self._finding.append(finding)
            self._diameter.append(max(place.diameter for place in here) / float(token.prod()) ** (1 / 3))
            self._scores.append([row[name] for name in LOCATED])
        self._token.append(token)
        self._how.add(found.how)

    def located(self) -> Located | None:
        """Return the scores; None where no finding was scored."""
        if not self._scores:
            return None
        across, back, up = np.mean(self._token, axis=0).tolist()
        how = " and ".join(sorted(self._how))
        return Located(
            self._study, self._finding, np.array(self._scores), how, (up, back, across), np.array(self._diameter)
        )


def body_of(volume: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return the body with its lungs, bool (D, H, W); the whole grid where none is found that fills a twentieth of it.

    Args:
        volume: (D, H, W), HU of a window scaled to [0, 1].
        window: these HU.
    """
    from scipy import ndimage

    low, high = window
    hu = volume * (high - low) + low
    # what a narrow window has cut off is air, or tissue
    hu = np.where(volume <= 0, min(low, TISSUE - 1), np.where(volume >= 1, max(high, TISSUE + 1), hu))
    body = np.zeros(volume.shape, dtype=bool)
    if (hu > TISSUE).any():
        body = np.stack([ndimage.binary_fill_holes(plane) for plane in tissue_mask(hu)])
    return body if body.mean() > LEAST_BODY else np.ones_like(body)


def _other(finding: str, names: list[str], present: set[str]) -> str | None:
    """Return the next finding in the alphabet, round and round, that a study does not have."""
    start = names.index(finding)
    return next((name for name in names[start:] + names[:start] if name not in present), None)
