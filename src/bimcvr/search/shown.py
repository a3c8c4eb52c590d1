"""An answer on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bimcvr.search.answer import Answer, Hit

_STYLES = {"word": "bold yellow", "present": "bold green", "absent": "strike dim", "uncertain": "italic yellow", "history": "dim"}
_SHOWN = 240


def show(answer: Answer) -> None:
    """Print an answer as a table, with what was asked above it and what is to be doubted below."""
    console = Console(highlight=False)
    kind = " (phantom: synthetic data)" if answer.phantom else ""
    asked = " | ".join(answer.asked)
    console.print(f"{answer.mode}: {asked} → {answer.into}s, {answer.among} of {answer.studies} studies{kind}", markup=False)
    table = Table()
    for name in ("rank", "study", "score", "labels", "report"):
        table.add_column(name, overflow="fold")
    for hit in answer.hits:
        table.add_row(str(hit.rank), Text(hit.study_id), f"{hit.score:.4f}", Text(", ".join(hit.labels)), excerpt(hit))
    console.print(table)
    for note in answer.notes:
        console.print(f"note: {note}", markup=False)
    console.print(f"query read in {1000 * answer.encode_seconds:.0f} ms, ranked in {1000 * answer.search_seconds:.1f} ms")


def excerpt(hit: Hit) -> Text:
    """Return the part of a report around what was asked for, marked."""
    text = Text(hit.report)
    for span in hit.spans:
        text.stylize(_STYLES[span.kind], span.start, span.end)
    if len(hit.report) <= _SHOWN:
        return text
    start = max(0, min((hit.spans[0].start if hit.spans else 0) - 40, len(hit.report) - _SHOWN))
    part = text[start : start + _SHOWN]
    return Text("…" if start else "") + part + Text("…" if start + _SHOWN < len(hit.report) else "")
