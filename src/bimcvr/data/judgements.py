"""Judgements of people: which studies are relevant to a query; a CSV file that grows by a line a judgement."""

import csv
import io
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bimcvr.errors import UserError

COLUMNS = ("mode", "query", "study_id", "relevant", "judged")
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
    """
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    if not path.exists():
        writer.writerow(COLUMNS)
    value = "" if relevant is None else str(int(relevant))
    writer.writerow([query.mode, query.query, study_id, value, time.strftime("%Y-%m-%dT%H:%M:%S")])
    # one write of whole lines: a kill leaves no half of one before the next
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, line.getvalue().encode("utf-8", "surrogatepass"))
    finally:
        os.close(handle)


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
        studies = judged.setdefault(Query(row["mode"], row["query"]), {})
        studies.pop(row["study_id"], None)
        if row["relevant"]:
            studies[row["study_id"]] = row["relevant"] == "1"
    return {query: studies for query, studies in judged.items() if studies}
