"""Search results as the API sends them: public case names in place of ids, and only columns that may be shown."""

import base64
from collections.abc import Sequence
from typing import Any

from bimcvr import __version__
from bimcvr.models.localisation.peak_slices import PeakSlice
from bimcvr.search.index.reader import Index
from bimcvr.search.index.series_facts import series_facts
from bimcvr.search.query.measured import MeasuredLabel
from bimcvr.search.query.near_duplicates import Repeated
from bimcvr.search.query.reasons import Reasons
from bimcvr.search.query.results import Hit, SearchResults
from bimcvr.search.server import schemas as api
from bimcvr.search.server.privacy import Visible


def search_response(
    results: SearchResults, repeated: Sequence[Repeated | None], visible: Visible
) -> api.SearchResponse:
    """Convert results.

    Args:
        results: of a search.
        repeated: of each hit, which hit before it has the same report or volume.
        visible: what clients may see.

    Returns:
        The response.
    """
    measured = results.measured
    score_is = "cosine of the query and the case"
    if results.denied:
        score_is = "cosine of the case and the opposite of the finding's prompts"
    if results.mode == "words":
        score_is = "BM25 of the query's words in the report"
    elif results.hybrid:
        score_is = "fused rank: the sum of 1 / (60 + rank) over the rankings by vectors and by words"
    hits = [_hit(hit, visible) for hit in results.hits]
    for hit, again in zip(hits, repeated, strict=True):
        if again is not None:
            hit.repeats, hit.repeats_why = hits[again.hit].case, again.why
    return api.SearchResponse(
        hits=hits,
        candidates=results.candidates,
        score_is=score_is,
        hybrid=results.hybrid,
        # one that is not better than chance is among the notes
        measured=measured.sentence(results.label) if measured is not None and measured.better_than_chance else "",
        query_parts=list(results.query_parts) if results.mode in ("text", "keyword") else [],
        notes=list(results.notes),
        seconds=results.encode_seconds + results.search_seconds,
        encode_seconds=results.encode_seconds,
    )


def facts_out(
    index: Index, visible: Visible, queryable: list[str], max_upload_mib: int, why_not: str
) -> api.IndexFacts:
    """Return what an index is, without any path.

    Args:
        index: the index.
        visible: what clients may see.
        queryable: the columns that a condition may name.
        max_upload_mib: the server's limit for uploads, MiB.
        why_not: why new texts and volumes cannot be searched for; empty if they can.
    """
    recorded, names = index.facts, visible.names
    labels = [api.ValueCount(value=value, count=number) for value, number in index.label_counts().items()]
    prompts = set(index.prompts.labels) if index.prompts else set()
    return api.IndexFacts(
        version=__version__,
        studies=len(index),
        patients=len(set(index.patients)) if "patient_id" in index.columns else None,
        model=" + ".join(str(recorded[name]) for name in ("volume_encoder", "text_encoder") if recorded.get(name)),
        created=str(recorded.get("created", "")),
        phantom=index.is_phantom,
        has_patients=index.has_patients,
        anonymous=names.anonymous,
        can_embed=not why_not,
        why_not=why_not,
        labels=labels,
        keywords=[
            _keyword(label, MeasuredLabel.of(index, label.value))
            for label in labels
            if not why_not or label.value in prompts
        ],
        columns=[
            api.Column(
                name=name, values=[api.ValueCount(value=value, count=number) for value, number in values.items()]
            )
            for name, values in visible.columns.items()
            if len(values) > 1
        ],
        all_columns=queryable,
        max_upload_mib=max_upload_mib,
        lists=names.lists_of(index),
    )


def _keyword(label: api.ValueCount, measured: MeasuredLabel | None) -> api.Keyword:
    """Convert a label that can be searched for, with what was measured of it."""
    return api.Keyword(
        value=label.value,
        count=label.count,
        measured=measured.sentence(label.value) if measured is not None else "",
        better_than_chance=measured.better_than_chance if measured is not None else None,
    )


def _hit(hit: Hit, visible: Visible) -> api.HitOut:
    columns = [name for name, values in visible.columns.items() if len(values) > 1]
    return api.HitOut(
        rank=hit.rank,
        case=visible.names.name_of(hit.study_id),
        score=hit.score,
        labels=list(hit.labels),
        report=hit.report,
        spans=[api.HighlightOut(start=span.start, end=span.end, kind=span.kind) for span in hit.spans],
        columns={name: hit.row[name] for name in columns if hit.row.get(name)},
        thumbnails=hit.has_pictures,
        patient=hit.patient_id if visible.patients else "",
        day=series_facts(hit.row, visible.series).day,
        repeats="",
        repeats_why="",
    )


def reasons_out(reasons: Reasons) -> api.ReasonsResponse:
    """Convert what explains a hit."""
    matching, contrary = (
        [api.SentenceOut(text=reasons.report[one.start : one.end], score=one.score) for one in sentences]
        for sentences in (reasons.matching, reasons.contrary)
    )
    return api.ReasonsResponse(
        matching=matching,
        contrary=contrary,
        labels=list(reasons.labels),
        score_is="cosine with the query" if reasons.by_vectors else "parts that match",
    )


def grid_out(geometry: dict[str, Any]) -> api.GridOut | None:
    """Convert the recorded geometry of a source volume; None where the volume was not read."""
    if not geometry:
        return None
    depth, height, width = geometry["native_size"]
    up, back, across = geometry["native_spacing"]
    return api.GridOut(size=(width, height, depth), spacing_mm=(across, back, up), obliquity=geometry["obliquity"])


def slices_out(slices: Sequence[PeakSlice]) -> api.RelevantSlicesResponse:
    """Convert pictures of a case."""
    return api.RelevantSlicesResponse(
        slices=[
            api.RelevantSlice(
                plane=one.plane,
                number=one.number,
                slices=one.slices,
                picture=base64.b64encode(one.picture).decode(),
                map=base64.b64encode(one.map).decode(),
            )
            for one in slices
        ]
    )
