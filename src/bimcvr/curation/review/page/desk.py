"""The queue as it stands on the disk, and answers to it: what the routes of the review page work on.

Manifest and queue are read again whenever their files have changed, so a run of `curate` and edits in a spreadsheet
show at once.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.audit.report_checks import failed_wording
from bimcvr.curation.review.answers import Answer, answer_of, write_answer
from bimcvr.curation.review.page.cohort import Cohort
from bimcvr.curation.review.queue import Question, Review, key_of, plain_text, read_reviews
from bimcvr.data.reading.grid import GridRules
from bimcvr.errors import UserError

Stamp = tuple[int, int, int]


class QuestionNotFound(Exception):
    """The queue has no such question."""


@dataclass(frozen=True)
class Asked:
    """A question with its answers.

    Attributes:
        name: by which the page knows it; it says nothing about the study.
        question: what is asked.
        reviews: its rows.
        superseded: whether the queue also has a newer text of the study, so that this answer does not count.
    """

    name: str
    question: Question
    reviews: tuple[Review, ...]
    superseded: bool

    @property
    def failed(self) -> bool:
        """Whether the text is a failed translation, which cannot be accepted."""
        return bool(failed_wording(self.question.report))

    def others(self, reviewer: str) -> int:
        """Return how many other reviewers have answered. What they say is not shown: answers stay independent."""
        return len({review.reviewer for review in self.reviews if review.decision} - {reviewer})


class ReviewDesk:
    """A review queue, its studies, and the answers that were given here.

    Args:
        folder: what `curate` wrote.
        queue: the queue's file.
        rules: which grids are accepted.

    Attributes:
        folder: as given, absolute.
        queue: as given, absolute.

    Raises:
        UserError: there is no queue or no manifest, or one of them cannot be read.
    """

    def __init__(self, folder: Path, queue: Path, rules: GridRules) -> None:
        self.folder, self.queue = folder.absolute(), queue.absolute()
        self._rules = rules
        self._busy = threading.RLock()
        self._given: dict[tuple[str, str], Answer] = {}
        self._cohort: tuple[Stamp, Cohort] | None = None
        self._asked: tuple[Stamp, dict[str, Asked]] | None = None
        if not self.queue.is_file():
            raise UserError(
                f"There is no review queue at {queue}. `curate` writes it if its configuration has"
                " `review: review.csv`; --review names another file."
            )
        self.asked()

    @property
    def cohort(self) -> Cohort:
        """The manifest and its flags."""
        path = self.folder / "manifest.csv"
        with self._busy:
            stamp = _stamp(path)
            if self._cohort is None or self._cohort[0] != stamp:
                self._cohort = (stamp, Cohort(path, self._rules))
            return self._cohort[1]

    @property
    def revision(self) -> str:
        """Changes whenever the queue's file does."""
        return "-".join(map(str, _stamp(self.queue)))

    def asked(self) -> dict[str, Asked]:
        """Return the questions by name; those about studies of one patient follow each other.

        Raises:
            UserError: the queue cannot be read; the message names its line.
        """
        with self._busy:
            cohort, stamp = self.cohort, _stamp(self.queue)
            if self._asked is None or self._asked[0] != stamp:
                self._asked = (stamp, _grouped(read_reviews(self.queue), cohort))
            return self._asked[1]

    def question(self, name: str) -> Asked:
        """Return one question.

        Raises:
            QuestionNotFound: there is none of this name.
        """
        try:
            return self.asked()[name]
        except KeyError as error:
            raise QuestionNotFound("The queue has no such question any more. Load the page again.") from error

    def answer(self, name: str, reviewer: str, answer: Answer, before: Answer) -> Asked:
        """Write an answer; it is on the disk when the call returns.

        Args:
            name: of the question.
            reviewer: who answers.
            answer: the new answer; an empty one takes theirs back.
            before: the answer that the page showed.

        Returns:
            The question with its answers now.

        Raises:
            QuestionNotFound: there is none of this name.
            AnswerChanged: the file has another answer than `before`.
            UserError: the answer is refused; a failed translation is never accepted.
        """
        with self._busy:
            asked = self.question(name)
            if answer.decision == "accept" and asked.failed:
                raise UserError("A failed translation is no report: correct it, or reject the study.")
            write_answer(self.queue, asked.question, reviewer, answer, before)
            self._given[name, reviewer] = answer
            return self.question(name)

    def overwritten(self, reviewer: str) -> list[str]:
        """Return the questions whose answers, given here, another program has saved over."""
        return [
            name
            for (name, who), answer in self._given.items()
            if who == reviewer
            and name in self.asked()
            and not answer_of(self.asked()[name].reviews, reviewer).same_as(answer)
        ]

    def settle_overwritten(self, reviewer: str, write: bool) -> None:
        """Write the answers given here again, or take the file's for right.

        Args:
            reviewer: whose answers.
            write: whether to write them.
        """
        with self._busy:
            for name in self.overwritten(reviewer):
                asked = self.question(name)
                present = answer_of(asked.reviews, reviewer)
                if write:
                    write_answer(self.queue, asked.question, reviewer, self._given[name, reviewer], present)
                else:
                    del self._given[name, reviewer]

    def open_elsewhere(self) -> bool:
        """Return whether LibreOffice has the queue open; it may save over what is answered here."""
        return self.queue.with_name(f".~lock.{self.queue.name}#").exists()

    def volume(self, study: str) -> tuple[Path, tuple[int, int, int] | None]:
        """Return the path of a study's volume, and its slices, rows and columns where the manifest knows them.

        Raises:
            UserError: the manifest has no such study.
        """
        row = self.cohort.row(study)
        if row is None:
            raise UserError("The manifest no longer has this study, so its volume is unknown.")
        sizes = [self.cohort.cell(study, name) for name in ("slices", "height", "width")]
        known = all(size.isdigit() and int(size) > 0 for size in sizes)
        return self.cohort.manifest.volume_path(row), (int(sizes[0]), int(sizes[1]), int(sizes[2])) if known else None


def _grouped(reviews: Sequence[Review], cohort: Cohort) -> dict[str, Asked]:
    rows: dict[tuple[str, str, str], list[Review]] = {}
    newest: dict[str, str] = {}
    patients: dict[str, int] = {}
    for review in reviews:
        question = review.question
        if key_of(question) not in rows:
            newest[question.study_id] = plain_text(question.report)
        rows.setdefault(key_of(question), []).append(review)
        patients.setdefault(cohort.patient(question.study_id), len(patients))
    ordered = sorted(rows.values(), key=lambda of: patients[cohort.patient(of[0].question.study_id)])
    return {
        _name(question): Asked(
            _name(question), question, tuple(of), newest[question.study_id] != plain_text(question.report)
        )
        for of, question in ((of, of[0].question) for of in ordered)
    }


def _name(question: Question) -> str:
    return hashlib.blake2b("\0".join(key_of(question)).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _stamp(path: Path) -> Stamp:
    """Return what changes when a file is written or replaced.

    Raises:
        UserError: there is no such file.
    """
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{path} is gone. Run `curate` again, or put the file back.") from error
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
