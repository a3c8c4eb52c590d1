"""Search results as the API sends them: public case names in place of ids, and only columns that may be shown."""

import base64
from collections.abc import Sequence
from typing import Any

from bimcvr.models.localisation.peak_slices import PeakSlice
from bimcvr.search.query.measured import MeasuredLabel
from bimcvr.search.query.reasons import Reasons
from bimcvr.search.query.results import Hit, SearchResults
from bimcvr.search.server import schemas as api
from bimcvr.search.server.privacy import CaseNames


def search_response(results: SearchResults, names: CaseNames, columns: dict[str, dict[str, int]]) -> api.SearchResponse:
    """Convert results.

    Args:
        results: of a search.
        names: the public names of cases.
        columns: the columns that result cards may show, and their values.

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
    varying = [name for name, values in columns.items() if len(values) > 1]
    return api.SearchResponse(
        hits=[_hit(hit, names, varying) for hit in results.hits],
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


def keyword_out(label: api.ValueCount, measured: MeasuredLabel | None) -> api.Keyword:
    """Convert a label that can be searched for, with what was measured of it."""
    return api.Keyword(
        value=label.value,
        count=label.count,
        measured=measured.sentence(label.value) if measured is not None else "",
        better_than_chance=measured.better_than_chance if measured is not None else None,
    )


def _hit(hit: Hit, names: CaseNames, columns: list[str]) -> api.HitOut:
    return api.HitOut(
        rank=hit.rank,
        case=names.name_of(hit.study_id),
        score=hit.score,
        labels=list(hit.labels),
        report=hit.report,
        spans=[api.HighlightOut(start=span.start, end=span.end, kind=span.kind) for span in hit.spans],
        columns={name: hit.row[name] for name in columns if hit.row.get(name)},
        thumbnails=hit.has_pictures,
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
