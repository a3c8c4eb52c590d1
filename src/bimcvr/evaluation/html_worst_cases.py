"""Queries of an evaluation for its page, bad and good ones: the query, its right answer, and what was retrieved."""

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

QUERIES_SHOWN = {"worst": {"text_to_image": 5, "image_to_text": 3}, "best": {"text_to_image": 2, "image_to_text": 1}}
"""How many queries of each kind and direction are shown."""

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


class ShownQuery(NamedTuple):
    """A query with what it retrieved.

    Attributes:
        query: The query's own study.
        rank: The expected rank of the first right answer.
        tied: How many wrong studies are tied with it.
        right_answers: How many studies are right answers.
        retrieved: The first studies, best first.
        other_rank: The expected rank of the first right answer with the method that is compared with, if there is one.
    """

    query: StudyCard
    rank: float
    tied: int
    right_answers: int
    retrieved: list[StudyCard]
    other_rank: float | None = None


def shown_queries(
    embeddings: Embeddings,
    gallery: Gallery,
    group: Tensor,
    ranks: Mapping[str, Ranks],
    manifest: Manifest,
    other: Mapping[str, Ranks] | None = None,
) -> dict[str, dict[str, list[ShownQuery]]]:
    """Return `worst` and `best` queries, each by direction.

    They are the queries whose first right answer ranks worst, and those where it is first; beside another method those
    that lose most against it, and those that win most.

    Args:
        embeddings: N rows, in the gallery's order.
        gallery: The N rows.
        group: (N,) int64; rows with the same number are right answers of each other.
        ranks: The ranks by direction.
        manifest: Where reports and volumes are read from.
        other: The ranks of the other method, by direction.
    """
    cpu = torch.device("cpu")
    images, texts = UnitVectors(embeddings.image, "image", cpu), UnitVectors(embeddings.text, "text", cpu)
    vectors = {"text_to_image": (texts, images), "image_to_text": (images, texts)}
    chosen = {
        (kind, direction): _choose(
            kind,
            ranks[direction],
            None if other is None else other[direction],
            group,
            count,
            direction == "text_to_image",
        )
        for kind, counts in QUERIES_SHOWN.items()
        for direction, count in counts.items()
    }
    scores = {
        (kind, direction): vectors[direction][0].exact(torch.tensor(rows, dtype=torch.long))
        @ vectors[direction][1].exact(slice(None)).T
        for (kind, direction), rows in chosen.items()
    }
    best = {key: score.argsort(dim=1, descending=True, stable=True)[:, :TOP].tolist() for key, score in scores.items()}
    shown = {row for key in chosen for rows in [chosen[key], *best[key]] for row in rows}
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

    def shown_query(direction: str, query: int, score: Tensor, top: list[int]) -> ShownQuery:
        return ShownQuery(
            query=card(query, query, score),
            rank=ranks[direction].expected[query].item(),
            tied=int(ranks[direction].tied_wrong[query]),
            right_answers=int((group == group[query]).sum()),
            retrieved=[card(row, query, score) for row in top],
            other_rank=None if other is None else other[direction].expected[query].item(),
        )

    return {
        kind: {
            direction: [
                shown_query(direction, *one)
                for one in zip(*(part[kind, direction] for part in (chosen, scores, best)), strict=True)
            ]
            for direction in counts
        }
        for kind, counts in QUERIES_SHOWN.items()
    }


def _choose(kind: str, ranks: Ranks, other: Ranks | None, group: Tensor, count: int, one_per_group: bool) -> list[int]:
    """Return the queries that are shown, the worst or the best first.

    With `one_per_group` only one of the queries that share a report: as texts they are the same query.
    """
    bad = ranks.expected - (1 if other is None else other.expected)
    order, shown = (bad, bad > 0) if kind == "worst" else (-bad, bad <= 0 if other is None else bad < 0)
    chosen: dict[int, int] = {}
    for query in order.argsort(descending=True, stable=True).tolist():
        if len(chosen) == count or not shown[query]:
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
