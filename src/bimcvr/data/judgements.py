"""Judgements of people: which studies are relevant to a query; a CSV file that grows by a line a judgement.

Queries are what people have typed: cells that a spreadsheet would run as formulas are escaped. A file that has become
too large is rewritten without what later lines have replaced.
"""

import contextlib
import csv
import fcntl
import io
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bimcvr.atomic_files import NO_LOCKS
from bimcvr.data.spreadsheet_cells import escape_cell, unescape_cell
from bimcvr.errors import UserError

COLUMNS = ("mode", "query", "study_id", "relevant", "judged")
MOST_BYTES = 16 * 2**20
"""A file does not grow beyond: about 150,000 judgements."""
Mode = Literal["text", "keyword", "study"]


@dataclass(frozen=True)
class Query:
    """What was asked when a study was judged.

    Attributes:
        mode: `text`, `keyword`, or `study` for the volume of a study.
        query: the text, the keyword or the study's id.
    """

    mode: str
    query: str


def append_judgement(path: Path, query: Query, study_id: str, relevant: bool | None) -> None:
    """Add a judgement; a later one of the same query and study replaces it.

    Args:
        path: the CSV file; it is made where there is none.
        query: what was asked.
        study_id: the study that was judged.
        relevant: whether it fits the query; None takes an earlier judgement back.

    Raises:
        UserError: the file is full, also without what later judgements have replaced.
    """
    value = "" if relevant is None else str(int(relevant))
    judged = time.strftime("%Y-%m-%dT%H:%M:%S")
    line = _lines([[query.mode, escape_cell(query.query), escape_cell(study_id), value, judged]])
    handle = _open_locked(path)
    try:
        if os.fstat(handle).st_size + len(line) > MOST_BYTES:
            handle = _rewritten(path, handle)
        # one write of whole lines: a kill leaves no half of one before the next
        os.write(handle, line if os.fstat(handle).st_size else _lines([COLUMNS]) + line)
    finally:
        os.close(handle)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _open_locked(path: Path) -> int:
    """Open the file for appending; another process that does so waits until this one has closed it."""
    while True:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(handle)
                raise
        # whoever had the lock before may have put another file in its place
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)


def _rewritten(path: Path, handle: int) -> int:
    """Write the judgements that hold into a new file, put it in the old one's place, and open it."""
    with path.open(encoding="utf-8", errors="surrogatepass", newline="") as stream:
        rows = list(csv.reader(stream))
    held: dict[tuple[str, ...], list[str]] = {}
    for row in rows[1:]:
        held.pop(tuple(row[:3]), None)
        if len(row) < 4 or row[3]:  # a row that is no judgement is kept: reading it says what is wrong
            held[tuple(row[:3])] = row
    content = _lines([*rows[:1], *held.values()])
    # not nearly full, else every judgement would rewrite it
    if len(content) > MOST_BYTES * 9 // 10:
        raise UserError(
            f"{path} has {MOST_BYTES // 2**20} MiB of judgements, and takes no more. Move it elsewhere (evaluate"
            " --judgements reads it there): the next judgement begins a new one."
        )
    new, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)  # of mode 0600
    try:
        with open(new, "wb") as stream_out:
            stream_out.write(content)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    following = _open_locked(path)
    os.dup2(following, handle)
    os.close(following)
    return handle


def read_judgements(path: Path) -> dict[Query, dict[str, bool]]:
    """Read the judgements that hold: for each query the studies that are relevant (True), and that are not.

    Args:
        path: a CSV file that the search page wrote, or of the same columns (`judged` may be absent).

    Raises:
        UserError: the file is absent, lacks a column, or a row is not a judgement; the message names the row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The judgements {path} cannot be read ({type(error).__name__}).") from error
    judged: dict[Query, dict[str, bool]] = {}
    for number, row in enumerate(rows, 2):
        if any(row.get(name) is None for name in COLUMNS[:4]):
            raise UserError(f"{path}, line {number}: a judgement has the columns {', '.join(COLUMNS[:4])}.")
        if row["mode"] not in get_args(Mode) or row["relevant"] not in ("0", "1", ""):
            raise UserError(
                f"{path}, line {number}: `mode` is one of {', '.join(get_args(Mode))}, and `relevant` is 1, 0, or empty"
                " for a judgement that was taken back."
            )
        studies = judged.setdefault(Query(row["mode"], unescape_cell(row["query"])), {})
        study_id = unescape_cell(row["study_id"])
        studies.pop(study_id, None)
        if row["relevant"]:
            studies[study_id] = row["relevant"] == "1"
    return {query: studies for query, studies in judged.items() if studies}
