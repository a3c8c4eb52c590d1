"""What the manifest and the audit know of a queued study: its patient, labels and flags, with their evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.audit.audit import stored_audit
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.flags import is_flag, meaning
from bimcvr.curation.audit.output.highlight import offending_words, word_spans
from bimcvr.curation.audit.report_checks import check_report
from bimcvr.curation.review.queue import Question
from bimcvr.curation.translation.checks import Place, problem_places
from bimcvr.data.manifest import Manifest, read_manifest, split_list
from bimcvr.data.reading.grid import GridRules

TRANSLATION = "doubtful_translation"
"""Stands beside the audit's flags for what the checks of a translation found."""

_TRANSLATION = "the translation may have lost or changed something"
_JOINT = "; "  # of a question's reason


@dataclass(frozen=True)
class Flag:
    """Something that is wrong with a study, or may be.

    Attributes:
        name: of the audit, or `TRANSLATION`.
        asked: whether the question is about it; others are only recorded on the row.
        what: the defect in one line.
        evidence: what was found here; empty where no facts are stored.
    """

    name: str
    asked: bool
    what: str
    evidence: str


@dataclass(frozen=True)
class Mark:
    """A place in a text that a flag is about.

    Attributes:
        start: its first character.
        end: one past the last.
        flag: the name of the flag.
    """

    start: int
    end: int
    flag: str


class Cohort:
    """A manifest with the flags of an audit on stored facts; no volume is read.

    Args:
        path: the manifest that `curate` wrote, with `facts` beside it.
        rules: which grids are accepted.

    Raises:
        UserError: there is no manifest, or it cannot be read.
    """

    def __init__(self, path: Path, rules: GridRules) -> None:
        self.manifest: Manifest = read_manifest(path)
        self._rows = {study: row for row, study in enumerate(self.manifest.column("study_id"))}
        findings = stored_audit(self.manifest, path.parent / "facts", rules).findings
        self._findings = {(finding.study_id, finding.flag): finding for finding in findings}

    def row(self, study: str) -> int | None:
        """Return the row of a study; None if the manifest no longer has it."""
        return self._rows.get(study)

    def cell(self, study: str, column: str) -> str:
        """Return one cell of a study's row; empty if there is none."""
        row = self.row(study)
        return "" if row is None else self.manifest.cell(column, row)

    def patient(self, study: str) -> str:
        """Return a study's patient; the study itself where that is unknown."""
        return self.cell(study, "patient_id") or study

    def labels(self) -> list[str]:
        """Return every label of the manifest, in alphabetical order."""
        cells = (*self.manifest.column("labels"), *self.manifest.column("archive_labels"))
        return sorted({label for cell in cells for label in split_list(cell)})

    def original(self, question: Question) -> str:
        """Return the text that a question's report was translated from; empty where it is the text itself."""
        # queues of before had no such column
        text = question.original or self.cell(question.study_id, "report_original")
        return text if text != question.report else ""

    def flags(self, question: Question) -> list[Flag]:
        """Return the flags of a study, those that the question is about first."""
        study = question.study_id
        names, problems = _reasons(question, self.flag_names(study))
        asked = [self._flag(question, name, True) for name in names]
        asked += [
            Flag(TRANSLATION, True, "the translation may have lost or changed something", one) for one in problems
        ]
        others = [self._flag(question, name, False) for name in self.flag_names(study) if name not in names]
        return asked + others

    def flag_names(self, study: str) -> list[str]:
        """Return the flags on a study's row."""
        return [name.strip() for name in self.cell(study, "flags").split(";") if name.strip()]

    def kinds(self, question: Question) -> list[str]:
        """Return the names by which a question can be filtered: the flags of its study, and `TRANSLATION`."""
        recorded = self.flag_names(question.study_id)
        names, problems = _reasons(question, recorded)
        return list(dict.fromkeys([*names, *[TRANSLATION] * bool(problems), *recorded]))

    def marks(self, question: Question) -> tuple[list[Mark], list[Mark]]:
        """Return the places in a question's report and in its original that its flags are about."""
        original = self.original(question)
        names, problems = _reasons(question, self.flag_names(question.study_id))
        found: tuple[list[Mark], list[Mark]] = ([], [])
        for problem in problems:
            in_original, in_report = problem_places(problem, original, question.report)
            for marks, places in zip(found, (in_report, in_original), strict=True):
                marks += _marks(places, TRANSLATION)
        for name in dict.fromkeys([*names, *self.flag_names(question.study_id)]):
            words = offending_words(self._finding(question, name), question.report)
            places = word_spans(question.report, words)
            found[0].extend(_marks(places, name))
            # the report is a failed translation, and its original was checked instead
            if words and not places:
                found[1].extend(_marks(word_spans(original, words), name))
        return _apart(found[0]), _apart(found[1])

    def _finding(self, question: Question, flag: str) -> Finding:
        study = question.study_id
        # of the text in question first: the manifest may have its correction already
        own = check_report(study, question.report, "en", question.original)
        stored = self._findings.get((study, flag), Finding(study, flag, ""))
        return next((finding for finding in own if finding.flag == flag), stored)

    def _flag(self, question: Question, name: str, asked: bool) -> Flag:
        return Flag(name, asked, meaning(name).what, self._finding(question, name).evidence)


def _reasons(question: Question, flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide a question's reason into names of flags and problems of the translation, which are sentences."""
    parts = [part for part in question.reason.split(_JOINT) if part.strip()]
    names = [part for part in parts if part in flags or is_flag(part)]
    return names, [part for part in parts if part not in names]


def _marks(places: Sequence[Place], flag: str) -> list[Mark]:
    return [Mark(start, end, flag) for start, end in places]


def _apart(marks: list[Mark]) -> list[Mark]:
    """Return marks in order, without those that begin within another."""
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start, -mark.end)):
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return kept
