"""Answers to the questions of a review queue, each written into its file at once.

The file is read again for every answer, so what people wrote in a spreadsheet meanwhile stays; an answer of their own
that has changed is not overwritten but told.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.review.queue import DECISIONS, NO_FINDING, Question, Review, key_of, plain_text, review_of
from bimcvr.curation.review.queue_file import QueueFile, SavedMeanwhile, taking_turns
from bimcvr.errors import UserError

# how often a write is tried again after another program's save
_ATTEMPTS = 5


class AnswerChanged(UserError):
    """The reviewer's answer in the file is not the one that was to be replaced; nothing was written."""


@dataclass(frozen=True)
class Answer:
    """What a reviewer answers to one question.

    Attributes:
        decision: one of `DECISIONS`; empty to take an answer back.
        corrected: the text to use instead, with `correct`.
        labels: the findings that the reviewer saw; None if they give none.

    Raises:
        UserError: the parts do not fit together.
    """

    decision: str = ""
    corrected: str = ""
    labels: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.decision not in (*DECISIONS, ""):
            raise UserError(f"The decision '{self.decision}' is unknown. Give {', '.join(DECISIONS)}.")
        if (self.decision == "correct") != bool(self.corrected.strip()):
            raise UserError("The decision 'correct' needs a corrected text, and no other decision has one.")
        if not self.decision and self.labels is not None:
            raise UserError("Labels are part of a decision. Give one.")
        for label in self.labels or ():
            if label != label.strip() or not label or ";" in label or label == NO_FINDING:
                raise UserError(f"'{label}' is no label: it is empty, has a semicolon, or stands for no finding.")

    def same_as(self, other: "Answer") -> bool:
        """Return whether two answers say the same, whatever a spreadsheet did to line ends."""
        mine, others = ((one.decision, plain_text(one.corrected), one.labels) for one in (self, other))
        return mine == others

    def cells(self) -> dict[str, str]:
        """Return the answer as cells of the queue."""
        labels = "" if self.labels is None else ";".join(sorted(self.labels)) or NO_FINDING
        return {"decision": self.decision, "corrected": self.corrected, "labels": labels}


def answer_of(reviews: Iterable[Review], reviewer: str) -> Answer:
    """Return a reviewer's answer, the last of several; an empty one if they gave none.

    Args:
        reviews: the rows of one question.
        reviewer: the name.
    """
    mine = [review for review in reviews if review.reviewer == reviewer and review.decision]
    return Answer(mine[-1].decision, mine[-1].corrected, mine[-1].labels) if mine else Answer()


def write_answer(path: Path, question: Question, reviewer: str, answer: Answer, before: Answer) -> None:
    """Write an answer into the reviewer's row of a question, into a free one, or into a copy of it.

    When the call returns, the answer is on the disk.

    Args:
        path: the queue.
        question: one of its questions.
        reviewer: who answers.
        answer: the new answer; an empty one takes theirs back.
        before: the answer that it replaces.

    Raises:
        AnswerChanged: the reviewer has another answer in the file than `before`.
        UserError: the file or the question is gone, or the reviewer has no name.
    """
    if not reviewer or reviewer != reviewer.strip():
        raise UserError("An answer needs the name of the reviewer, without blanks around it.")
    for attempt in range(_ATTEMPTS):
        try:
            with taking_turns(path):
                table = QueueFile.read(path)
                content = _answered(table, question, reviewer, answer, before)
                if content != table.content:
                    table.replace(path, content)
            return
        except SavedMeanwhile:
            if attempt == _ATTEMPTS - 1:
                raise


def _answered(table: QueueFile, question: Question, reviewer: str, answer: Answer, before: Answer) -> bytes:
    """Return the file's bytes with the answer."""
    rows = [(row, review_of(row)) for row in table.rows]
    rows = [(row, review) for row, review in rows if key_of(review.question) == key_of(question)]
    if not rows:
        raise UserError("The question is no longer in the review queue: its row was deleted or its text changed.")
    mine = [(row, review) for row, review in rows if review.reviewer == reviewer]
    present = answer_of([review for _, review in mine], reviewer)
    if present.same_as(answer):
        return table.content
    if not present.same_as(before):
        raise AnswerChanged("Your answer to this question was changed in the file meanwhile; it was not overwritten.")
    decided = [row for row, review in mine if review.decision]
    free = [row for row, review in rows if not review.decision and review.reviewer in ("", reviewer)]
    cells = answer.cells() | {"reviewer": reviewer if answer.decision else ""}
    if row := next(iter([*decided[-1:], *free]), None):
        return table.with_cells(row, cells)
    first = rows[0][0].cells
    return table.with_rows(
        [{name: first.get(name, "") for name in ("study_id", "reason", "report", "original")} | cells]
    )
