"""The worst queries of an evaluation, as a page shows them: what was asked, what was right, what was found instead."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.data.manifest import Manifest
from bimcvr.data.reading.volume import read_volume
from bimcvr.data.slice_pictures import CHEST_WINDOW, fit_in, grey, middle_slices
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.html.render import png_uri
from bimcvr.metrics.ranks import Ranks
from bimcvr.metrics.unit_vectors import UnitVectors

SHOWN = {"text_to_image": 5, "image_to_text": 3}
"""How many queries of each direction are shown."""

TOP = 5
SIDE = 176
"""The longer side of a picture, in pixels."""


class Pictures(NamedTuple):
    """The middle slices of a volume as data URIs, or why there are none."""

    slices: dict[str, str]
    refused: str = ""


class Item(NamedTuple):
    """A study in a case.

    Attributes:
        study_id: its name.
        score: the cosine with the query.
        labels: each with whether the query's study has it too.
        flags: what the audit holds against it.
        report: its text.
        right: whether it is a right answer.
        pictures: of its volume.
    """

    study_id: str
    score: float
    labels: list[tuple[str, bool]]
    flags: str
    report: str
    right: bool
    pictures: Pictures


class Case(NamedTuple):
    """A query that went wrong.

    Attributes:
        own: the query's own study.
        rank: the expected rank of the first right answer.
        tied: how many wrong items are tied with it.
        right_answers: how many items are right answers.
        found: the first items, best first.
    """

    own: Item
    rank: float
    tied: int
    right_answers: int
    found: list[Item]


def worst_cases(
    embeddings: Embeddings, gallery: Gallery, group: Tensor, ranked: Mapping[str, Ranks], manifest: Manifest
) -> dict[str, list[Case]]:
    """Return by direction the queries whose first right answer ranks worst; those that have it first are no cases.

    Args:
        embeddings: N rows, in the gallery's order.
        gallery: the rows.
        group: (N,) int64, which rows are right answers of each other.
        ranked: the ranks by direction.
        manifest: where reports and volumes are.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(embeddings.image, "image", cpu), UnitVectors(embeddings.text, "text", cpu)
    ways = {"text_to_image": (texts, images), "image_to_text": (images, texts)}
    chosen = {way: _worst(ranked[way], group, SHOWN[way], one_a_group=way == "text_to_image") for way in ways}
    scores = {
        way: query.exact(torch.tensor(chosen[way], dtype=torch.long)) @ items.exact(slice(None)).T
        for way, (query, items) in ways.items()
    }
    best = {way: score.argsort(dim=1, descending=True, stable=True)[:, :TOP].tolist() for way, score in scores.items()}
    places = {place for way in ways for line in [chosen[way], *best[way]] for place in line}
    pictures = {
        place: _pictures(manifest, int(gallery.rows[place]))
        for place in track(sorted(places), description="slices for the page")
    }
    reports, flags = manifest.column("report"), manifest.column("flags")

    def item(place: int, query: int, score: Tensor) -> Item:
        labels = [(label, label in gallery.labels[query]) for label in sorted(gallery.labels[place])]
        row = gallery.rows[place]
        return Item(
            gallery.study_id[place],
            score[place].item(),
            labels,
            flags[row].replace(";", ", "),
            reports[row],
            bool(group[place] == group[query]),
            pictures[place],
        )

    return {
        way: [
            Case(
                item(query, query, score),
                ranked[way].expected[query].item(),
                int(ranked[way].tied_wrong[query]),
                int((group == group[query]).sum()),
                [item(place, query, score) for place in top],
            )
            for query, score, top in zip(chosen[way], scores[way], best[way], strict=True)
        ]
        for way in ways
    }


def _worst(ranks: Ranks, group: Tensor, count: int, one_a_group: bool) -> list[int]:
    """Return the queries of the highest expected ranks above 1, worst first.

    With `one_a_group` only one of those that share a report: as texts they are the same query.
    """
    chosen: dict[int, int] = {}
    for query in ranks.expected.argsort(descending=True, stable=True).tolist():
        if len(chosen) == count or ranks.expected[query] <= 1:
            break
        chosen.setdefault(int(group[query]) if one_a_group else query, query)
    return list(chosen.values())


def _pictures(manifest: Manifest, row: int) -> Pictures:
    """Cut a volume through its middle; a volume that cannot be read is no reason to have no page."""
    try:
        volume = read_volume(manifest.volume_path(row))
    except (UserError, OSError) as error:
        return Pictures({}, str(error))
    planes = zip(("axial", "coronal"), middle_slices(volume.hu, volume.spacing), strict=False)
    return Pictures(
        {name: png_uri(fit_in(grey(plane, CHEST_WINDOW), aspect, SIDE)) for name, (plane, aspect) in planes}
    )
