"""The rows of a manifest in the making, and what curation does to their texts: anonymise, translate, label."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.progress import track

from bimcvr.curation.anonymise.anonymiser import Anonymised, Anonymiser
from bimcvr.curation.audit.report_checks import failed_wording
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.ingest import Taken
from bimcvr.curation.pipeline.step_log import StepLog
from bimcvr.curation.review.queue import Verdict, labels_of
from bimcvr.curation.translation.translator import TranslationCache, Translator, translate_report

# a report with one of these says nothing itself: its original may
_NO_TEXT = {"placeholder", "untranslated", "report_short"}
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass
class Row:
    """One volume on its way into the manifest.

    Attributes:
        taken: the study as it was taken in.
        original: its report in the archive's words, anonymised if that step is on.
        report: what models read.
        language: of the report.
        translation: the archive's own English text; empty if it has none.
        personal: how many tags of each type the original took.
        asked: the text that reviewers are asked about.
        doubts: why the translation may not be used without a reviewer.
        labels: what is found.
        labels_source: `keywords`, `archive` or `expert`; empty without labels.
        flags: what is held against it.
        status: `ok`, `rejected` or `review`.
        split: where it belongs.
    """

    taken: Taken
    original: str
    report: str
    language: str
    translation: str
    personal: dict[str, int]
    asked: str = ""
    doubts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    labels_source: str = ""
    flags: tuple[str, ...] = ()
    status: str = "ok"
    split: str = ""

    @property
    def study_id(self) -> str:
        """The row's name."""
        return self.taken.study.study_id


def rows_of(taken: Sequence[Taken]) -> list[Row]:
    """Begin the rows: each report as its archive has it."""
    studies = (item.study for item in taken)
    return [
        Row(item, study.report, study.report, study.language, study.translation, {}, asked=study.report)
        for item, study in zip(taken, studies, strict=True)
    ]


def anonymise_rows(rows: list[Row], anonymiser: Anonymiser, log: StepLog, jobs: int) -> None:
    """Take people out of reports and translations; the log counts the tags of each type."""
    done = _each(anonymiser, (text for row in rows for text in (row.original, row.translation)), jobs)
    for row in rows:
        original, translation = done[row.original], done[row.translation]
        row.original, row.personal, row.translation = original.text, original.counts, translation.text
        row.report = row.asked = original.text
        for name, counts in (("report", original.counts), ("translation", translation.counts)):
            for kind, count in counts.items():
                log.add(row.study_id, f"{name}: {kind}", str(count))


def translate_rows(rows: list[Row], translator: Translator | None, cache: TranslationCache, log: StepLog) -> None:
    """Put an English text in the place of each Spanish one.

    The archive's own, or the translator's where that has failed.

    A translation that fails its checks is not used: the report stays Spanish until a reviewer has accepted or corrected
    it.
    """
    spanish = [row for row in rows if row.language == "es"]
    for row in track(spanish, description="translating", disable=translator is None):
        if row.translation and (translator is None or not failed_wording(row.translation)):
            row.report = row.asked = row.translation
            row.language = "en"
            log.add(row.study_id, "archive", "the archive's own translation")
        elif translator is None:
            log.add(row.study_id, "none", "no translation and no translator: the report stays Spanish")
        else:
            done = translate_report(Anonymised(row.original, row.personal), translator, cache)
            row.doubts = done.problems
            row.asked = done.text or row.original
            if done.text and not done.problems:
                row.report, row.language = done.text, "en"
                log.add(row.study_id, "translated", translator.identity)
            elif done.problems:
                log.add(row.study_id, "doubtful", f"{len(done.problems)} problems: see the review queue")


def label_rows(
    rows: list[Row], extractor: LabelExtractor | None, verdicts: dict[str, Verdict], log: StepLog, jobs: int
) -> None:
    """Find the labels of each report; a reviewer's go first, and the archive's stand in without extractor or text."""
    texts = {
        row.study_id: (
            (row.original, "es")
            if _NO_TEXT.intersection(row.flags) and row.original != row.report
            else (row.report, row.language)
        )
        for row in rows
    }
    found = _each(_Labelling(extractor), texts.values(), jobs) if extractor else {}
    for row in rows:
        text = texts[row.study_id]
        given = row.taken.study.labels
        own = (found[text], "keywords") if text in found and text[0].strip() else (given, "archive" if given else "")
        row.labels, row.labels_source = labels_of(verdicts.get(row.study_id), *own)
        log.add(row.study_id, row.labels_source, ";".join(row.labels))


@dataclass(frozen=True)
class _Labelling:
    extractor: LabelExtractor

    def __call__(self, text: tuple[str, str]) -> tuple[str, ...]:
        return self.extractor.labels(*text)


def _each(function: Callable[[Key], Value], keys: Iterable[Key], jobs: int) -> dict[Key, Value]:
    """Do something once for each distinct key, in parallel where there are many."""
    from joblib import Parallel, delayed

    distinct = list(dict.fromkeys(keys))
    batches = [distinct[start : start + 64] for start in range(0, len(distinct), 64)]
    done = Parallel(n_jobs=jobs if len(batches) > 8 else 1)(delayed(_batch)(function, batch) for batch in batches)
    return dict(zip(distinct, (value for batch in done for value in batch), strict=True))


def _batch(function: Callable[[Key], Value], keys: list[Key]) -> list[Value]:
    return [function(key) for key in keys]
