"""An answer as one HTML page with pictures, from which no request leaves."""

import base64
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup, escape

from bimcvr.atomic_files import write_text
from bimcvr.html.render import render
from bimcvr.search.index.reader import Index
from bimcvr.search.index.schema import PLANES
from bimcvr.search.query.results import Hit, SearchResults


def write_page(path: Path, answer: SearchResults, index: Index) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        answer: the answer.
        index: the index that gave it, for its pictures and facts.
    """
    hits = [{"hit": hit, "report": marked(hit), "pictures": _pictures(index, hit.study_id)} for hit in answer.hits]
    write_text(
        path,
        render(
            "search/output/answer.html",
            answer=answer,
            hits=hits,
            facts=index.facts,
            synthetic=answer.phantom,
            has_patients=answer.has_patients,
        ),
    )


def marked(hit: Hit) -> Markup:
    """Return a report as HTML in which what was asked for is marked, `<mark class="present">` and so on.

    All else is escaped.
    """
    edges = sorted({0, len(hit.report), *(at for span in hit.spans for at in (span.start, span.end))})
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
