"""The worst queries of an evaluation for its page: the query, its right answer, and what was retrieved instead."""

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
from bimcvr.metrics.ranking.ranks import Ranks
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

QUERIES_SHOWN = {"text_to_image": 5, "image_to_text": 3}
"""How many queries of each direction are shown."""

TOP = 5
LONGER_SIDE = 176
"""The longer side of a picture, in pixels."""


class Pictures(NamedTuple):
    """The middle slices of a volume as data URIs, or why there are none."""

    slices: dict[str, str]
    refused: str = ""


class StudyCard(NamedTuple):
    """A study as the page shows it.

    Attributes:
        study_id: Its name.
        score: Its cosine with the query.
        labels: Its labels, each with whether the query's study has it too.
        flags: The audit's flags against it.
        report: Its text.
        right: Whether it is a right answer.
        pictures: Middle slices of its volume.
    """

    study_id: str
    score: float
    labels: list[tuple[str, bool]]
    flags: str
    report: str
    right: bool
    pictures: Pictures


class WorstQuery(NamedTuple):
    """A query that went wrong.

    Attributes:
        query: The query's own study.
        rank: The expected rank of the first right answer.
        tied: How many wrong studies are tied with it.
        right_answers: How many studies are right answers.
        retrieved: The first studies, best first.
    """

    query: StudyCard
    rank: float
    tied: int
    right_answers: int
    retrieved: list[StudyCard]


def worst_queries(
    embeddings: Embeddings, gallery: Gallery, group: Tensor, ranks: Mapping[str, Ranks], manifest: Manifest
) -> dict[str, list[WorstQuery]]:
    """Return, by direction, the queries whose first right answer ranks worst; rank 1 is never shown.

    Args:
        embeddings: N rows, in the gallery's order.
        gallery: The N rows.
        group: (N,) int64; rows with the same number are right answers of each other.
        ranks: The ranks by direction.
        manifest: Where reports and volumes are read from.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(embeddings.image, "image", cpu), UnitVectors(embeddings.text, "text", cpu)
    vectors = {"text_to_image": (texts, images), "image_to_text": (images, texts)}
    chosen = {
        direction: _worst(ranks[direction], group, count, one_per_group=direction == "text_to_image")
        for direction, count in QUERIES_SHOWN.items()
    }
    scores = {
        direction: queries.exact(torch.tensor(chosen[direction], dtype=torch.long)) @ items.exact(slice(None)).T
        for direction, (queries, items) in vectors.items()
    }
    best = {
        direction: score.argsort(dim=1, descending=True, stable=True)[:, :TOP].tolist()
        for direction, score in scores.items()
    }
    shown = {row for direction in vectors for rows in [chosen[direction], *best[direction]] for row in rows}
    pictures = {
        row: _pictures(manifest, int(gallery.rows[row]))
        for row in track(sorted(shown), description="slices for the page")
    }
    reports, flags = manifest.column("report"), manifest.column("flags")

    def card(row: int, query: int, score: Tensor) -> StudyCard:
        return StudyCard(
            study_id=gallery.study_id[row],
            score=score[row].item(),
            labels=[(label, label in gallery.labels[query]) for label in sorted(gallery.labels[row])],
            flags=flags[gallery.rows[row]].replace(";", ", "),
            report=reports[gallery.rows[row]],
            right=bool(group[row] == group[query]),
            pictures=pictures[row],
        )

    return {
        direction: [
            WorstQuery(
                query=card(query, query, score),
                rank=ranks[direction].expected[query].item(),
                tied=int(ranks[direction].tied_wrong[query]),
                right_answers=int((group == group[query]).sum()),
                retrieved=[card(row, query, score) for row in top],
            )
            for query, score, top in zip(chosen[direction], scores[direction], best[direction], strict=True)
        ]
        for direction in vectors
    }


def _worst(ranks: Ranks, group: Tensor, count: int, one_per_group: bool) -> list[int]:
    """Return the queries of the highest expected ranks above 1, worst first.

    With `one_per_group` only one of the queries that share a report: as texts they are the same query.
    """
    chosen: dict[int, int] = {}
    for query in ranks.expected.argsort(descending=True, stable=True).tolist():
        if len(chosen) == count or ranks.expected[query] <= 1:
            break
        chosen.setdefault(int(group[query]) if one_per_group else query, query)
    return list(chosen.values())


def _pictures(manifest: Manifest, row: int) -> Pictures:
    """Return the middle slices of a volume; one that cannot be read does not prevent the page."""
    try:
        volume = read_volume(manifest.volume_path(row))
    except (UserError, OSError) as error:
        return Pictures({}, str(error))
    planes = zip(("axial", "coronal"), middle_slices(volume.hu, volume.spacing), strict=False)
    return Pictures(
        {name: png_uri(fit_in(grey(plane, CHEST_WINDOW), aspect, LONGER_SIDE)) for name, (plane, aspect) in planes}
    )
