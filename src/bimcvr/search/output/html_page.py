"""Search results as one self-contained HTML page with thumbnails."""

import base64
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup, escape

from bimcvr.atomic_files import write_text
from bimcvr.html.render import render
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import PLANES
from bimcvr.search.query.results import Hit, SearchResults


def write_page(path: Path, results: SearchResults, index: Index) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        results: the results.
        index: the index that was searched, for its thumbnails and facts.
    """
    hits = [
        {"hit": hit, "report": highlighted_report(hit), "pictures": _pictures(index, hit.study_id)}
        for hit in results.hits
    ]
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


def _pictures(index: Index, study_id: str) -> list[tuple[str, str]]:
    thumbnails = index.thumbnails(study_id)
    return [
        (plane, "data:image/jpeg;base64," + base64.b64encode(thumbnails[plane]).decode())
        for plane in PLANES
        if plane in thumbnails
    ]
