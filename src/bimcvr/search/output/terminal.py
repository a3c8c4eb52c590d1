"""An answer on the terminal."""

import re

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bimcvr.search.query.results import Hit, SearchResults

_STYLES = {
    "word": "bold yellow",
    "present": "bold green",
    "absent": "strike dim",
    "uncertain": "italic yellow",
    "history": "dim",
}
_SHOWN = 240
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def show(answer: SearchResults) -> None:
    """Print the studies found below one another, with what was asked above them and what is to be doubted below."""
    console = Console(highlight=False)
    kind = f" ({'partly ' if answer.has_patients else ''}phantom: synthetic data)" if answer.phantom else ""
    asked = " | ".join(answer.asked)
    console.print(
        f"{answer.mode}: {asked} → {answer.into}s, {answer.among} of {answer.studies} studies{kind}", markup=False
    )
    table = Table(box=None, padding=(0, 1, 1, 0))
    for name in ("rank", "score"):
        table.add_column(name, justify="right", vertical="top", no_wrap=True)
    table.add_column("study, labels, report")
    for hit in answer.hits:
        labels = Text(_CONTROL.sub(" ", ", ".join(hit.labels)) or "no labels", style="cyan")
        name = _CONTROL.sub(" ", hit.study_id)
        table.add_row(
            str(hit.rank), f"{hit.score:.4f}", Group(Text(name, style="bold", overflow="fold"), labels, excerpt(hit))
        )
    console.print(table)
    for note in answer.notes:
        console.print(f"note: {note}", markup=False)
    console.print(
        f"query read in {1000 * answer.encode_seconds:.0f} ms, ranked in {1000 * answer.search_seconds:.1f} ms"
    )


def excerpt(hit: Hit) -> Text:
    """Return some sentences of a report, from the one where most of what was asked for follows, marked."""
    report = _CONTROL.sub(" ", hit.report)  # no escapes reach the terminal; as long as before: the spans still fit
    text = Text(report)
    for span in hit.spans:
        text.stylize(_STYLES[span.kind], span.start, span.end)
    if len(report) <= _SHOWN:
        return text
    starts = [0, *(end.end() for end in re.finditer(r"(?<=[.!?])\s+", report))]
    start = max(
        starts,
        key=lambda start: len(
            {
                report[span.start : span.end].lower()
                for span in hit.spans
                if start <= span.start and span.end <= start + _SHOWN
            }
        ),
    )
    end = len(report)
    if end - start > _SHOWN:
        end = max(report.rfind(" ", start, start + _SHOWN), start + _SHOWN // 2)
    return Text("…" if start else "") + text[start:end] + Text(" …" if end < len(report) else "")
