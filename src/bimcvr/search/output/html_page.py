"""Search results as one self-contained HTML page with thumbnails."""

import base64
from itertools import pairwise
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape
from rich.console import Console
from rich.progress import track

from bimcvr.atomic_files import write_text
from bimcvr.data.slice_pictures import PLANES
from bimcvr.errors import UserError
from bimcvr.html.render import render
from bimcvr.models.localisation.peak_slices import peak_slices
from bimcvr.search.index.reader import Index
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.results import Hit, SearchResults


def write_page(path: Path, results: SearchResults, index: Index, model: Encoder | None = None) -> None:
    """Write the page.

    With a model, a volume that is still in its place is shown where the model looks most for the query, with the map
    over it; all others are shown by the slices through their middle.

    Args:
        path: the HTML file.
        results: the results.
        index: the index that was searched, for its thumbnails and facts.
        model: the model that the index was made with.
    """
    hits = []
    for hit in track(results.hits, "Pictures", console=Console(stderr=True), transient=True, disable=model is None):
        peaks = _peaks(index, hit.study_id, results.query_vector, model)
        middle = [] if peaks else _pictures(index, hit.study_id)
        hits.append({"hit": hit, "report": highlighted_report(hit), "pictures": middle, "peaks": peaks})
    write_text(
        path,
        render(
            "search/output/results.html",
            results=results,
            hits=hits,
            facts=index.facts,
            synthetic=results.phantom,
            has_patients=results.has_patients,
        ),
    )


def highlighted_report(hit: Hit) -> Markup:
    """Return a hit's report as HTML, its spans as `<mark class="present">` and so on, everything else escaped."""
    edges = sorted({0, len(hit.report), *(edge for span in hit.spans for edge in (span.start, span.end))})
    parts = []
    for start, end in pairwise(edges):
        kinds = [span.kind for span in hit.spans if span.start <= start and end <= span.end]
        text = escape(hit.report[start:end])
        parts.append(Markup('<mark class="{}">{}</mark>').format(kinds[0], text) if kinds else text)
    return Markup("").join(parts)


def _peaks(index: Index, study_id: str, query: np.ndarray | None, model: Encoder | None) -> list[dict[str, str | int]]:
    """Return the slices where the model looks most; none where it looks nowhere, or cannot."""
    source = index.row(study_id).source
    if model is None or query is None or not source or not Path(source).exists():
        return []
    try:
        found = model.localise_vector(Path(source), query)
        slices = peak_slices(Path(source), found.relevance, found.placement, found.rules)
    except UserError:  # a source that has changed, or an encoder without a map: the index has its middle slices
        return []
    return [
        {
            "plane": one.plane,
            "number": one.number,
            "slices": one.slices,
            "picture": "data:image/jpeg;base64," + base64.b64encode(one.picture).decode(),
            "map": "data:image/png;base64," + base64.b64encode(one.map).decode(),
        }
        for one in slices
    ]


def _pictures(index: Index, study_id: str) -> list[tuple[str, str]]:
    thumbnails = index.thumbnails(study_id)
    return [
        (plane, "data:image/jpeg;base64," + base64.b64encode(thumbnails[plane]).decode())
        for plane in PLANES
        if plane in thumbnails
    ]
