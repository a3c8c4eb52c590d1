"""The steps that work on reports: anonymise, translate, label."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from rich.progress import track

from bimcvr.curation.anonymise.anonymiser import Anonymised, Anonymiser
from bimcvr.curation.audit.report_checks import failed_wording
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.row import CurationRow
from bimcvr.curation.pipeline.step_log import StepLog
from bimcvr.curation.review.queue import Verdict, reviewed_labels
from bimcvr.curation.translation.translator import TranslationCache, Translator, translate_report
from bimcvr.parallel import in_parallel

# a report with one of these flags has nothing to label: its original may have
_NO_TEXT = {"placeholder", "untranslated", "report_short"}
Key = TypeVar("Key")
Value = TypeVar("Value")


def anonymise_rows(rows: list[CurationRow], anonymiser: Anonymiser, log: StepLog, jobs: int) -> None:
    """Replace personal data in reports, translations and texts of regions by tags.

    Args:
        rows: changed in place.
        anonymiser: finds and replaces the personal data.
        log: receives the number of tags of each type.
        jobs: processes to use; -1 for one a core.
    """
    texts = (text for row in rows for text in (row.original, row.translation, *(text for _, text in row.regions)))
    anonymised = _map_distinct(anonymiser, texts, jobs)
    for row in rows:
        original, translation = anonymised[row.original], anonymised[row.translation]
        row.original, row.tag_counts, row.translation = original.text, original.counts, translation.text
        row.report = row.review_text = original.text
        row.regions = tuple((region, anonymised[text].text) for region, text in row.regions)
        of_regions = sum((Counter(anonymised[text].counts) for _, text in row.ingested.study.regions), Counter())
        changes = (("report", original.counts), ("translation", translation.counts), ("regions", of_regions))
        for name, counts in changes:
            for kind, count in counts.items():
                log.add(row.study_id, f"{name}: {kind}", str(count))


def translate_rows(
    rows: list[CurationRow], translator: Translator | None, cache: TranslationCache, log: StepLog
) -> None:
    """Replace each Spanish report by the archive's English text, or by the translator's where that text is a failure.

    A translation that fails its checks is not used: the report stays Spanish until a reviewer has accepted or corrected
    it.

    Args:
        rows: changed in place.
        translator: None to use the archive's own translations only.
        cache: translations of earlier runs.
        log: receives where each text is from.
    """
    spanish = [row for row in rows if row.language == "es"]
    for row in track(spanish, description="translating", disable=translator is None):
        if row.translation and (translator is None or not failed_wording(row.translation)):
            row.report = row.review_text = row.translation
            row.language = "en"
            log.add(row.study_id, "archive", "the archive's own translation")
        elif translator is None:
            log.add(row.study_id, "none", "no translation and no translator: the report stays Spanish")
        else:
            result = translate_report(Anonymised(row.original, row.tag_counts), translator, cache)
            row.translation_problems = result.problems
            row.review_text = result.text or row.original
            if result.text and not result.problems:
                row.report, row.language = result.text, "en"
                log.add(row.study_id, "translated", translator.identity)
            elif result.problems:
                log.add(row.study_id, "doubtful", f"{len(result.problems)} problems: see the review queue")


def label_rows(
    rows: list[CurationRow],
    extractor: LabelExtractor | None,
    verdicts: dict[str, Verdict],
    log: StepLog,
    jobs: int,
) -> None:
    """Set the labels of each row.

    Reviewers' labels override extracted ones; the archive's are used without an extractor or without text.

    Args:
        rows: changed in place.
        extractor: finds the labels of a report; None to use the archive's.
        verdicts: the reviewers' verdicts by study.
        log: receives the source and the labels of each row.
        jobs: processes to use; -1 for one a core.
    """
    texts = {
        row.study_id: (
            (row.original, "es")
            if _NO_TEXT.intersection(row.flags) and row.original != row.report
            else (row.report, row.language)
        )
        for row in rows
    }
    extracted = _map_distinct(_Labelling(extractor), texts.values(), jobs) if extractor else {}
    for row in rows:
        text = texts[row.study_id]
        archive_labels = row.ingested.study.labels
        if text in extracted and text[0].strip():
            labels, source = extracted[text], "keywords"
        else:
            labels, source = archive_labels, "archive" if archive_labels else ""
        row.labels, row.labels_source = reviewed_labels(verdicts.get(row.study_id), labels, source)
        log.add(row.study_id, row.labels_source, ";".join(row.labels))


@dataclass(frozen=True)
class _Labelling:
    extractor: LabelExtractor

    def __call__(self, text: tuple[str, str]) -> tuple[str, ...]:
        return self.extractor.labels(*text)


def _map_distinct(function: Callable[[Key], Value], keys: Iterable[Key], jobs: int) -> dict[Key, Value]:
    """Apply a function once to each distinct key, in parallel where there are many."""
    distinct = list(dict.fromkeys(keys))
    batches = [distinct[start : start + 64] for start in range(0, len(distinct), 64)]
    results = in_parallel(_batch, ((function, batch) for batch in batches), jobs if len(batches) > 8 else 1)
    return dict(zip(distinct, (value for batch in results for value in batch), strict=True))


def _batch(function: Callable[[Key], Value], keys: list[Key]) -> list[Value]:
    return [function(key) for key in keys]
