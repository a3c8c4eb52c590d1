"""Search results as text for a terminal."""

import re

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bimcvr.errors import printable
from bimcvr.search.query.results import Hit, SearchResults

_STYLES = {
    "word": "bold yellow",
    "present": "bold green",
    "absent": "strike dim",
    "uncertain": "italic yellow",
    "history": "dim",
}
_EXCERPT_LENGTH = 240
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def format_results(results: SearchResults) -> Group:
    """Lay results out: the query, what is to be known before the first hit, and a table of the hits.

    Args:
        results: the results.

    Returns:
        What `rich.console.Console.print` can print.
    """
    kind = f" ({'partly ' if results.has_patients else ''}phantom: synthetic data)" if results.phantom else ""
    query = " | ".join(results.query_parts)
    fused = ", by meaning and words" * results.hybrid  # else a score of 0.03 would be read as a cosine
    scope = f"{results.into}s{fused}, {results.candidates} of {results.studies} studies{kind}"
    table = Table(box=None, padding=(0, 1, 1, 0))
    for name in ("rank", "score"):
        table.add_column(name, justify="right", vertical="top", no_wrap=True)
    table.add_column("study, labels, report")
    for hit in results.hits:
        labels = Text(_CONTROL.sub(" ", ", ".join(hit.labels)) or "no labels", style="cyan")
        study_id = Text(_CONTROL.sub(" ", hit.study_id), style="bold", overflow="fold")
        table.add_row(str(hit.rank), f"{hit.score:.4f}", Group(study_id, labels, excerpt(hit)))
    seconds = (
        f"query encoded in {1000 * results.encode_seconds:.0f} ms, ranked in {1000 * results.search_seconds:.1f} ms"
    )
    measured = results.measured
    found = [measured.sentence(results.label)] if measured is not None and measured.better_than_chance else []
    return Group(
        Text(printable(f"{results.mode}: {query} → {scope}")),
        *(Text(printable(sentence), style="dim") for sentence in found),
        *(Text(printable(f"note: {note}")) for note in results.notes),
        table,
        Text(seconds),
    )


def excerpt(hit: Hit) -> Text:
    """Return a part of a report that begins with a sentence and has most of the query's matches, highlighted.

    Args:
        hit: the hit.

    Returns:
        The whole report if it is short, else at most 240 characters of it.
    """
    # no escape sequence reaches the terminal; the length stays the same, so that the spans still fit
    report = _CONTROL.sub(" ", hit.report)
    text = Text(report)
    for span in hit.spans:
        text.stylize(_STYLES[span.kind], span.start, span.end)
    if len(report) <= _EXCERPT_LENGTH:
        return text
    starts = [0, *(end.end() for end in re.finditer(r"(?<=[.!?])\s+", report))]
    start = max(
        starts,
        key=lambda start: len(
            {
                report[span.start : span.end].lower()
                for span in hit.spans
                if start <= span.start and span.end <= start + _EXCERPT_LENGTH
            }
        ),
    )
    end = len(report)
    if end - start > _EXCERPT_LENGTH:
        end = max(report.rfind(" ", start, start + _EXCERPT_LENGTH), start + _EXCERPT_LENGTH // 2)
    return Text("…" if start else "") + text[start:end] + Text(" …" if end < len(report) else "")
