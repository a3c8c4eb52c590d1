"""The steps from ingested studies to finished rows, in order, each with its log."""

from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.anonymise.anonymiser import Anonymiser
from bimcvr.curation.audit.facts_cache import Measured
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.decisions import (
    Checks,
    SplitStep,
    apply_verdicts,
    decide,
    flag_rows,
    reject_unusable,
    split_rows,
)
from bimcvr.curation.pipeline.ingest import IngestSettings
from bimcvr.curation.pipeline.report_steps import anonymise_rows, label_rows, translate_rows
from bimcvr.curation.pipeline.row import CurationRow
from bimcvr.curation.pipeline.step_log import StepLog
from bimcvr.curation.review.queue import Verdict, append_questions, read_reviews, settle
from bimcvr.curation.translation.translator import TranslationCache, Translator
from bimcvr.errors import UserError


class TranslateStep:
    """Make reports English: with the archive's own translation, or a translator where that is missing or a failure.

    Args:
        translator: null to use the archive's translations only.
    """

    def __init__(self, translator: Translator | None = None) -> None:
        self.translator = translator


@dataclass(frozen=True)
class Steps:
    """The steps that are on; a step that is None is off. The options of `curate` describe them."""

    anonymise: Anonymiser | None = None
    translate: TranslateStep | None = None
    checks: Checks | None = None
    labels: LabelExtractor | None = None
    review: Path | None = None
    split: SplitStep | None = None

    def __post_init__(self) -> None:
        if self.translate and self.translate.translator and not self.anonymise:
            raise UserError(
                "translate.translator without anonymise: a translator only receives anonymised reports. Set anonymise "
                "to bimcvr.curation.Anonymiser."
            )


def run_steps(rows: list[CurationRow], steps: Steps, settings: IngestSettings, jobs: int) -> list[Measured | None]:
    """Run the steps on the rows, and write the logs and the review queue.

    Args:
        rows: changed in place.
        steps: the steps that are on.
        settings: how the volumes were ingested, and the out folder.
        jobs: processes to use; -1 for one a core.

    Returns:
        The facts of each row's volume.
    """
    logs = {
        step: StepLog(step) for step in ("denoise", "anonymise", "translate", "checks", "labels", "review", "split")
    }
    _log_denoised(rows, settings, logs["denoise"])
    if steps.anonymise:
        anonymise_rows(rows, steps.anonymise, logs["anonymise"], jobs)
    if steps.translate:
        translate_rows(
            rows, steps.translate.translator, TranslationCache(settings.out / "translations"), logs["translate"]
        )
    verdicts: dict[str, Verdict] = {}
    if steps.review:
        texts = {row.study_id: row.review_text for row in rows}
        verdicts = settle(read_reviews(settings.out / steps.review, texts.keys()), texts)
        apply_verdicts(rows, verdicts, steps.anonymise, logs["review"])
    measured = flag_rows(rows, settings, jobs)
    if not steps.checks:
        for row in rows:
            row.flags = ()
    reject_unusable(rows, settings)
    questions = decide(rows, steps.checks, verdicts, steps.review is not None, logs["checks"])
    label_rows(rows, steps.labels, verdicts, logs["labels"], jobs)
    if steps.review:
        append_questions(settings.out / steps.review, questions)
    if steps.split:
        split_rows(rows, steps.split, settings.out, logs["split"])
    for step, log in logs.items():
        # unreadable volumes are rejected, and logged, without checks too
        if step == "checks" or getattr(settings if step == "denoise" else steps, step) is not None:
            log.write(settings.out / "log")
    return measured


def _log_denoised(rows: list[CurationRow], settings: IngestSettings, log: StepLog) -> None:
    for row in rows:
        if settings.denoise and row.ingested.sha256 != row.ingested.source_sha256:
            log.add(row.study_id, settings.denoise.filter, row.ingested.volume)
