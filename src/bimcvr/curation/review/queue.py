"""The review queue: a CSV file that people edit and that the next run takes in. Nothing of theirs is ever overwritten.

A row asks one question about one study. Who answers fills in `decision` (`accept`, `reject` or `correct`), for
`correct` the `corrected` text, if wanted the `labels` (`;`-separated, `none` for no finding), and the `reviewer`.
Several reviewers of a study are several rows: the row is copied.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.atomic_files import replacing
from bimcvr.data.manifest import split_list
from bimcvr.errors import UserError

COLUMNS = ("study_id", "reason", "report", "decision", "corrected", "labels", "reviewer")
DECISIONS = ("accept", "reject", "correct")
NO_FINDING = "none"
# a spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Question:
    """What a run asks people about a study.

    Attributes:
        study_id: the study.
        reason: why a person must look, in one line.
        report: the text that the decision is about; a decision on another text of the study does not count.
    """

    study_id: str
    reason: str
    report: str


@dataclass(frozen=True)
class Review:
    """One row of the queue.

    Attributes:
        question: what was asked.
        decision: one of `DECISIONS`; empty while nobody has answered.
        corrected: the text to use from now on, with `correct`.
        labels: the findings that the reviewer saw; None where they say nothing about labels.
        reviewer: who decided.
        line: where the row begins in the file.
    """

    question: Question
    decision: str
    corrected: str
    labels: frozenset[str] | None
    reviewer: str
    line: int


@dataclass(frozen=True)
class Verdict:
    """What the reviewers of one study decided together.

    Attributes:
        decision: one of `DECISIONS`; empty while a question is open or the reviewers stand even.
        corrected: the text to use, with `correct`.
        labels: the findings that more than half of those who gave labels saw; None where nobody gave any.
        reviewers: who decided, in alphabetical order.
    """

    decision: str
    corrected: str
    labels: tuple[str, ...] | None
    reviewers: tuple[str, ...]


def ask(path: Path, questions: Iterable[Question]) -> int:
    """Append the questions that the queue does not hold yet; what stands in the file stays, byte for byte.

    Args:
        path: the queue; made with its header if it is not there.
        questions: in the order in which they are to stand.

    Returns:
        how many were appended.

    Raises:
        UserError: the file is no queue, or somebody saves it at the same moment.
    """
    table = _Table.read(path)
    held = {_key(review.question) for review in _reviews(table)}
    new = []
    for question in questions:
        if _key(question) not in held:
            held.add(_key(question))
            new.append({"study_id": question.study_id, "reason": question.reason, "report": question.report})
    if new or not table.content:
        table.append(path, new)
    return len(new)


def read_reviews(path: Path, known: Collection[str] | None = None) -> list[Review]:
    """Read the queue with what people filled in.

    Args:
        path: the queue; one that is not there is empty.
        known: the studies that a row may name; None for any.

    Raises:
        UserError: the file cannot be read, or a row names an unknown study, another decision, or leaves out what it
            needs. The message names file and line.
    """
    reviews = _reviews(_Table.read(path))
    for review in reviews:
        _check(review, path, known)
    return reviews


def verdicts(reviews: Iterable[Review], reports: Mapping[str, str]) -> dict[str, Verdict]:
    """Settle the studies that reviewers have decided on.

    Per question the majority, over the questions the gravest answer.

    Args:
        reviews: the queue.
        reports: study_id → the text that is under question now; answers about an older text are left out.

    Returns:
        study_id → verdict, for every study that stands in the queue with its present text.
    """
    studies: dict[str, list[Review]] = {}
    for review in reviews:
        study = review.question.study_id
        if study in reports and _plain(reports[study]) == _plain(review.question.report):
            studies.setdefault(study, []).append(review)
    return {study: _settle(rows) for study, rows in studies.items()}


def labels_of(verdict: Verdict | None, extracted: Sequence[str], source: str) -> tuple[tuple[str, ...], str]:
    """Return a study's labels and their `labels_source`: experts' labels override extracted ones.

    Args:
        verdict: the reviewers', if any.
        extracted: the labels found otherwise.
        source: where those come from.
    """
    return (
        (verdict.labels, "expert") if verdict is not None and verdict.labels is not None else (tuple(extracted), source)
    )


def _settle(rows: list[Review]) -> Verdict:
    answers: list[str] = []
    for reason in dict.fromkeys(row.question.reason for row in rows):
        answers.append(_majority([row.decision for row in rows if row.question.reason == reason and row.decision]))
    decided = [row for row in rows if row.decision]
    corrected = _majority([row.corrected for row in decided if row.decision == "correct"])
    decision = next((answer for answer in ("reject", "", "correct", "accept") if answer in answers), "")
    if decision == "correct" and not corrected:
        decision = ""  # they agree that it is wrong, not on what is right
    given = list({row.reviewer: row.labels for row in decided if row.labels is not None}.values())
    seen = Counter(label for labels in given for label in labels)
    labels = tuple(sorted(label for label, times in seen.items() if 2 * times > len(given))) if given else None
    return Verdict(
        decision, corrected if decision == "correct" else "", labels, tuple(sorted({row.reviewer for row in decided}))
    )


def _majority(votes: list[str]) -> str:
    """Return what most say; empty where nobody says anything or the first two stand even."""
    ranked = Counter(votes).most_common(2)
    return ranked[0][0] if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]) else ""


@dataclass
class _Table:
    """The queue's file as people left it: its bytes, and how its cells are to be read and written."""

    content: bytes
    header: list[str]
    delimiter: str
    newline: str
    rows: list[tuple[int, dict[str, str]]]

    @classmethod
    def read(cls, path: Path) -> "_Table":
        if not path.exists():
            return cls(b"", list(COLUMNS), ",", "\n", [])
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 ({error.reason} at byte {error.start}). In a spreadsheet save it as 'CSV UTF-8'."
            ) from error
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)  # a spreadsheet saves with the separator of its language
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows: list[tuple[int, dict[str, str]]] = []
        header, begin = list(COLUMNS), 1
        try:
            for cells in reader:
                if begin == 1:
                    header = [name.strip() for name in cells]
                    missing = [name for name in COLUMNS if name not in header]
                    if missing:
                        raise UserError(
                            f"{path} has no column {', '.join(missing)}. A review queue has {', '.join(COLUMNS)}."
                        )
                elif any(cell.strip() for cell in cells):
                    if len(cells) > len(header):
                        raise UserError(
                            f"{path}, line {begin}: the row has {len(cells)} cells, the header {len(header)}. Is a"
                            " separator or a quotation mark within a cell not quoted?"
                        )
                    rows.append(
                        (
                            begin,
                            dict(
                                zip(header, map(_unescaped, [*cells, *[""] * (len(header) - len(cells))]), strict=True)
                            ),
                        )
                    )
                begin = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}, line {begin}: the row cannot be read: {error}.") from error
        return cls(content, header, delimiter, "\r\n" if first.endswith("\r") else "\n", rows)

    def append(self, path: Path, rows: list[dict[str, str]]) -> None:
        stream = io.StringIO(newline="")
        if not self.content:
            stream.write(self.delimiter.join(self.header) + self.newline)
        # all quoted: left to itself, the writer leaves a lone carriage return bare
        writer = csv.writer(stream, delimiter=self.delimiter, lineterminator=self.newline, quoting=csv.QUOTE_ALL)
        for row in rows:
            writer.writerow([_escaped(row.get(name, "")) for name in self.header])
        ended = not self.content or self.content.endswith((b"\n", b"\r"))
        # a mark at the start, so that spreadsheets show accents
        start = self.content + (b"" if ended else self.newline.encode()) if self.content else b"\xef\xbb\xbf"
        with replacing(path) as temporary:
            temporary.write_bytes(start + stream.getvalue().encode())
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            if (path.read_bytes() if path.exists() else b"") != self.content:
                raise UserError(f"{path} was saved by somebody else at this moment: nothing was written. Run again.")


def _reviews(table: _Table) -> list[Review]:
    found = []
    for line, row in table.rows:
        labels = split_list(row["labels"])
        found.append(
            Review(
                Question(row["study_id"].strip(), row["reason"], row["report"]),
                row["decision"].strip().lower(),
                row["corrected"],
                (labels - {NO_FINDING} if labels else None),
                row["reviewer"].strip(),
                line,
            )
        )
    return found


def _check(review: Review, path: Path, known: Collection[str] | None) -> None:
    where = f"{path}, line {review.line}"
    study = review.question.study_id
    if known is not None and study not in known:
        raise UserError(
            f"{where}: there is no study '{study}'. Was the study_id changed by hand? It must stand as the run"
            " wrote it."
        )
    if review.decision not in (*DECISIONS, ""):
        raise UserError(
            f"{where}: the decision '{review.decision}' is unknown. Write {', '.join(DECISIONS)}, or leave the cell"
            " empty."
        )
    if not review.decision and (review.corrected.strip() or review.labels is not None):
        raise UserError(
            f"{where}: study '{study}' has a corrected text or labels but no decision. Write {', '.join(DECISIONS)}."
        )
    if (review.decision == "correct") != bool(review.corrected.strip()) and review.decision:
        lacks = "no" if review.decision == "correct" else "a"
        raise UserError(
            f"{where}: study '{study}' has the decision '{review.decision}' and {lacks} corrected text. `correct` "
            "needs one, and the other decisions have none."
        )
    if review.decision and not review.reviewer:
        raise UserError(f"{where}: study '{study}' has a decision but no reviewer. Write who decided.")


def _plain(text: str) -> str:
    return " ".join(text.split())  # spreadsheets change line ends


def _key(question: Question) -> tuple[str, str, str]:
    return question.study_id, _plain(question.reason), _plain(question.report)


def _escaped(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) or (cell[:1] == "'" and cell[1:2] in (*_FORMULA, "'")) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in (*_FORMULA, "'") else cell
