"""The steps from studies that were taken in to finished rows, in their order, each with its log."""

from dataclasses import dataclass
from pathlib import Path

from bimcvr.curation.anonymise.anonymiser import Anonymiser
from bimcvr.curation.audit.facts_cache import Measured
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.decisions import (
    Checks,
    SplitStep,
    decide,
    flag_rows,
    refuse_unusable,
    split_rows,
    take_in_verdicts,
)
from bimcvr.curation.pipeline.ingest import Recipe
from bimcvr.curation.pipeline.rows import Row, anonymise_rows, label_rows, translate_rows
from bimcvr.curation.pipeline.step_log import StepLog
from bimcvr.curation.review.queue import Verdict, ask, read_reviews, verdicts
from bimcvr.curation.translation.translator import TranslationCache, Translator
from bimcvr.errors import UserError


class TranslateStep:
    """English reports: the archive's own translation, or a translator's where there is none or it has failed.

    Args:
        translator: null to take the archive's only.
    """

    def __init__(self, translator: Translator | None = None) -> None:
        self.translator = translator


@dataclass(frozen=True)
class Steps:
    """The steps that are on; None is off. The arguments of `curate` describe them."""

    anonymise: Anonymiser | None = None
    translate: TranslateStep | None = None
    checks: Checks | None = None
    labels: LabelExtractor | None = None
    review: Path | None = None
    split: SplitStep | None = None

    def __post_init__(self) -> None:
        if self.translate and self.translate.translator and not self.anonymise:
            raise UserError(
                "translate.translator without anonymise: reports leave for a translator only without their people. Set "
                "anonymise to bimcvr.curation.anonymise.anonymiser.Anonymiser."
            )


def run_steps(rows: list[Row], steps: Steps, recipe: Recipe, jobs: int) -> list[Measured | None]:
    """Take the rows through the steps, and write the logs and the review queue.

    Returns:
        The facts of each row's volume.
    """
    logs = {
        step: StepLog(step) for step in ("denoise", "anonymise", "translate", "checks", "labels", "review", "split")
    }
    _note_denoised(rows, recipe, logs["denoise"])
    if steps.anonymise:
        anonymise_rows(rows, steps.anonymise, logs["anonymise"], jobs)
    if steps.translate:
        translate_rows(
            rows, steps.translate.translator, TranslationCache(recipe.out / "translations"), logs["translate"]
        )
    decided: dict[str, Verdict] = {}
    if steps.review:
        asked = {row.study_id: row.asked for row in rows}
        decided = verdicts(read_reviews(recipe.out / steps.review, asked.keys()), asked)
        take_in_verdicts(rows, decided, steps.anonymise, logs["review"])
    measured = flag_rows(rows, recipe, jobs)
    if not steps.checks:
        for row in rows:
            row.flags = ()
    refuse_unusable(rows, recipe)
    questions = decide(rows, steps.checks, decided, steps.review is not None, logs["checks"])
    label_rows(rows, steps.labels, decided, logs["labels"], jobs)
    if steps.review:
        ask(recipe.out / steps.review, questions)
    if steps.split:
        split_rows(rows, steps.split, recipe.out, logs["split"])
    for step, log in logs.items():
        # what cannot be read is rejected without checks too
        if step == "checks" or getattr(recipe if step == "denoise" else steps, step) is not None:
            log.write(recipe.out / "log")
    return measured


def _note_denoised(rows: list[Row], recipe: Recipe, log: StepLog) -> None:
    for row in rows:
        if recipe.denoise and row.taken.sha256 != row.taken.source_sha256:
            log.add(row.study_id, recipe.denoise.filter, row.taken.volume)
