"""The review queue: a CSV file that people edit and the next run reads. What people wrote is never overwritten.

A row asks one question about one study. A reviewer fills in `decision` (`accept`, `reject` or `correct`), for
`correct` also the `corrected` text, optionally the `labels` (`;`-separated, `none` for no finding), and the `reviewer`.
Several reviewers of one study fill in copies of the row.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.review.queue_file import QueueFile, QueueRow, taking_turns
from bimcvr.data.manifest import split_list
from bimcvr.errors import UserError

DECISIONS = ("accept", "reject", "correct")
NO_FINDING = "none"


@dataclass(frozen=True)
class Question:
    """A question about a study for the reviewers.

    Attributes:
        study_id: the study.
        reason: why a reviewer must look at it, in one line.
        report: the text in question; a decision about an earlier text of the study does not count.
        original: the text that it was translated from; empty where it is the text itself.
    """

    study_id: str
    reason: str
    report: str
    original: str = ""


@dataclass(frozen=True)
class Review:
    """One row of the queue.

    Attributes:
        question: the question.
        decision: one of `DECISIONS`; empty while it is unanswered.
        corrected: the text to use instead, with `correct`.
        labels: the findings that the reviewer saw; None if they gave none.
        reviewer: the name of the reviewer.
        line: the line of the file on which the row begins.
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
        decision: one of `DECISIONS`; empty while a question is unanswered or the vote is a tie.
        corrected: the text to use instead, with `correct`.
        labels: the findings named by more than half of the reviewers who gave labels; None if nobody gave any.
        reviewers: the names of those who decided, in alphabetical order.
    """

    decision: str
    corrected: str
    labels: tuple[str, ...] | None
    reviewers: tuple[str, ...]


def append_questions(path: Path, questions: Iterable[Question]) -> int:
    """Append the questions that the queue does not contain yet; the existing content stays, byte for byte.

    Args:
        path: the queue; created with its header if it does not exist.
        questions: in the order in which to append them.

    Returns:
        The number of questions appended.

    Raises:
        UserError: the file is no review queue, or somebody saved it at the same moment.
    """
    with taking_turns(path):
        table = QueueFile.read(path)
        known = {key_of(review_of(row).question) for row in table.rows}
        new = []
        for question in questions:
            if key_of(question) not in known:
                known.add(key_of(question))
                new.append(
                    {
                        "study_id": question.study_id,
                        "reason": question.reason,
                        "report": question.report,
                        "original": question.original,
                    }
                )
        if new or not table.content:
            table.replace(path, table.with_rows(new))
    return len(new)


def read_reviews(path: Path, studies: Collection[str] | None = None) -> list[Review]:
    """Read the queue with the reviewers' answers.

    Args:
        path: the queue; a file that does not exist is an empty queue.
        studies: the studies that a row may name; None for any.

    Raises:
        UserError: the file cannot be read, or a row names an unknown study, has an unknown decision, or is incomplete.
            The message names file and line.
    """
    reviews = [review_of(row) for row in QueueFile.read(path).rows]
    for review in reviews:
        _check(review, path, studies)
    return reviews


def settle(reviews: Iterable[Review], reports: Mapping[str, str]) -> dict[str, Verdict]:
    """Combine the reviewers' answers to one verdict a study.

    The majority decides each question; of several questions about a study the most severe answer counts.

    Args:
        reviews: the rows of the queue.
        reports: by study_id, the text that is in question now; answers about an older text are ignored.

    Returns:
        The verdict by study_id, for every study that is in the queue with its present text.
    """
    studies: dict[str, list[Review]] = {}
    for review in reviews:
        study = review.question.study_id
        if study in reports and plain_text(reports[study]) == plain_text(review.question.report):
            studies.setdefault(study, []).append(review)
    return {study: _verdict(rows) for study, rows in studies.items()}


def reviewed_labels(verdict: Verdict | None, labels: Sequence[str], source: str) -> tuple[tuple[str, ...], str]:
    """Return a study's labels and their `labels_source`: reviewers' labels override all others.

    Args:
        verdict: the reviewers' verdict, if any.
        labels: the labels from elsewhere.
        source: where those come from.
    """
    return (verdict.labels, "expert") if verdict is not None and verdict.labels is not None else (tuple(labels), source)


def _verdict(rows: list[Review]) -> Verdict:
    answers: list[str] = []
    for reason in dict.fromkeys(row.question.reason for row in rows):
        answers.append(_majority([row.decision for row in rows if row.question.reason == reason and row.decision]))
    decided = [row for row in rows if row.decision]
    corrected = _majority([row.corrected for row in decided if row.decision == "correct"])
    decision = next((answer for answer in ("reject", "", "correct", "accept") if answer in answers), "")
    if decision == "correct" and not corrected:
        decision = ""  # the reviewers agree that the text is wrong, but not on a corrected one
    label_sets = list({row.reviewer: row.labels for row in decided if row.labels is not None}.values())
    votes = Counter(label for labels in label_sets for label in labels)
    majority = tuple(sorted(label for label, count in votes.items() if 2 * count > len(label_sets)))
    return Verdict(
        decision,
        corrected if decision == "correct" else "",
        majority if label_sets else None,
        tuple(sorted({row.reviewer for row in decided})),
    )


def _majority(votes: list[str]) -> str:
    """Return the most frequent vote; empty if there is none or the first two are tied."""
    ranked = Counter(votes).most_common(2)
    return ranked[0][0] if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]) else ""


def review_of(row: QueueRow) -> Review:
    """Return what a row of the file asks and answers."""
    cells = row.cells
    labels = split_list(cells["labels"])
    return Review(
        Question(cells["study_id"].strip(), cells["reason"], cells["report"], cells.get("original", "")),
        cells["decision"].strip().lower(),
        cells["corrected"],
        (labels - {NO_FINDING} if labels else None),
        cells["reviewer"].strip(),
        row.line,
    )


def _check(review: Review, path: Path, studies: Collection[str] | None) -> None:
    where = f"{path}, line {review.line}"
    study = review.question.study_id
    if studies is not None and study not in studies:
        raise UserError(
            f"{where}: there is no study '{study}'. Was the study_id edited? Restore it as the run wrote it."
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
        article = "no" if review.decision == "correct" else "a"
        raise UserError(
            f"{where}: study '{study}' has the decision '{review.decision}' and {article} corrected text. `correct` "
            "needs one, and the other decisions have none."
        )
    if review.decision and not review.reviewer:
        raise UserError(f"{where}: study '{study}' has a decision but no reviewer. Write who decided.")


def plain_text(text: str) -> str:
    """Return a text with single spaces: spreadsheets change line ends."""
    return " ".join(text.split())


def key_of(question: Question) -> tuple[str, str, str]:
    """Return what makes two questions the same one, whatever a spreadsheet did to their blanks and line ends."""
    return question.study_id, plain_text(question.reason), plain_text(question.report)
