"""The status of each row: the audit's flags decide, and reviewers can override them; no row is dropped."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bimcvr.curation.anonymise.anonymiser import Anonymiser
from bimcvr.curation.audit.audit import audit_manifest, geometry_columns
from bimcvr.curation.audit.cohort_checks import patients_in_two_splits
from bimcvr.curation.audit.facts_cache import Measured
from bimcvr.curation.audit.flags import VOLUME_FLAGS
from bimcvr.curation.audit.report_checks import SPANISH_SHARE, SPANISH_WORDS, failed_wording, spanish_share
from bimcvr.curation.pipeline.ingest import IngestSettings
from bimcvr.curation.pipeline.row import CurationRow
from bimcvr.curation.pipeline.step_log import StepLog
from bimcvr.curation.review.queue import Question, Verdict
from bimcvr.data.manifest import SPLITS, Manifest
from bimcvr.data.plain_names import is_plain
from bimcvr.data.splits import Strategy, assign_splits
from bimcvr.errors import UserError
from bimcvr.suggest import did_you_mean

REPORT_FLAGS = ("report_short", "placeholder", "untranslated", "wrong_modality", "duplicate_report", "mismatch_ids")
DECIDING_FLAGS = (*REPORT_FLAGS, *VOLUME_FLAGS, "duplicate_volume")


@dataclass(frozen=True)
class Checks:
    """Which flags of the audit decide the status of a row; all others are only recorded on the row.

    A volume that cannot be read is always rejected.

    Attributes:
        reject: flags that reject a row; by default the paper's three filters.
        review: flags that send a row to a reviewer; by default those of texts that are no report, which a person can
            replace.
    """

    reject: Sequence[str] = ("report_short", "missing_voxels", "too_small")
    review: Sequence[str] = ("placeholder", "untranslated")

    def __post_init__(self) -> None:
        for flag in (*self.reject, *self.review):
            if flag not in DECIDING_FLAGS:
                hint = did_you_mean(flag, DECIDING_FLAGS) or f" Use {', '.join(DECIDING_FLAGS)}."
                raise UserError(f"checks: there is no flag '{flag}'.{hint}")


@dataclass(frozen=True)
class SplitStep:
    """How accepted rows are divided into train, val and test.

    Attributes:
        strategy: as `data.strategy` of `fit`; `column` uses the archive's own split, where it has one.
        seed: the salt of `patient_hash`, or the permutation of `exact`.
        fractions: the shares of train, val and test.
    """

    strategy: Strategy = "patient_hash"
    seed: int = 0
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)


def apply_verdicts(
    rows: list[CurationRow], verdicts: dict[str, Verdict], anonymiser: Anonymiser | None, log: StepLog
) -> None:
    """Use the texts that reviewers accepted or wrote.

    A failed translation (`Something went wrong …`) is no report, whoever accepts it: it needs a corrected text, and its
    study waits for one.

    Args:
        rows: changed in place.
        verdicts: the reviewers' verdicts by study; an `accept` of a failed translation is taken out.
        anonymiser: applied to corrected texts; None to keep them as they are.
        log: receives the decisions.
    """
    for row in rows:
        verdict = verdicts.get(row.study_id)
        if verdict is None or not verdict.decision:
            continue
        if verdict.decision == "accept" and failed_wording(row.review_text):
            verdicts[row.study_id] = replace(verdict, decision="")
            log.add(row.study_id, "not accepted", "a failed translation needs the decision correct, with the text")
            continue
        if verdict.decision == "correct":
            row.report = anonymiser(verdict.corrected).text if anonymiser else verdict.corrected
            share, count = spanish_share(row.report)
            row.language = "es" if share >= SPANISH_SHARE and count >= SPANISH_WORDS else "en"
        elif verdict.decision == "accept" and row.translation_problems and row.review_text != row.original:
            row.report, row.language = row.review_text, "en"
        log.add(row.study_id, verdict.decision, f"by {len(verdict.reviewers)} reviewers")


def flag_rows(rows: list[CurationRow], settings: IngestSettings, jobs: int) -> list[Measured | None]:
    """Audit the rows.

    Args:
        rows: receive the audit's flags.
        settings: where the facts of volumes are stored.
        jobs: processes to use; -1 for one a core.

    Returns:
        The facts of each row's volume.
    """
    result = audit_manifest(_manifest(rows, settings.out), settings.facts, jobs, settings.rules)
    for row, flags in zip(rows, result.flags(), strict=True):
        row.flags = tuple(dict.fromkeys([*flags, *row.flags]))
    return [result.measured.get(position) for position in range(len(rows))]


def reject_unusable(rows: list[CurationRow], settings: IngestSettings) -> None:
    """Reject rows whose volume cannot be read, or is neither on disk nor in the cache."""
    for row in rows:
        cached = settings.cached_volume(row.ingested)
        missing = not (settings.out / row.ingested.volume).exists() and not (cached and cached.exists())
        refused = row.ingested.refused or ("missing_file" if missing else "")
        if refused:
            row.flags = tuple(dict.fromkeys([*row.flags, refused]))
            row.status = "rejected"


def decide(
    rows: list[CurationRow], checks: Checks | None, verdicts: dict[str, Verdict], ask: bool, log: StepLog
) -> list[Question]:
    """Set the status of each row.

    Args:
        rows: with their flags; changed in place.
        checks: which flags decide; None for none.
        verdicts: the reviewers' verdicts by study.
        ask: whether there is a review queue; without one no row waits for a reviewer.
        log: receives the effect of each flag.

    Returns:
        The questions for the review queue.
    """
    checks = checks or Checks((), ())
    questions = []
    for row in rows:
        rejecting = [flag for flag in row.flags if flag in checks.reject]
        doubtful = [flag for flag in row.flags if flag in checks.review]
        reason = "; ".join([*doubtful, *row.translation_problems])
        verdict = verdicts.get(row.study_id)
        decision = verdict.decision if verdict else ""
        if rejecting or decision == "reject":
            row.status = "rejected"
        elif reason and ask and not decision and row.status == "ok":
            row.status = "review"
            original = row.original if row.original != row.review_text else ""
            questions.append(Question(row.study_id, reason, row.review_text, original))
        for flag in row.flags:
            effect = (
                "rejected"
                if flag in rejecting or flag == row.ingested.refused or flag == "missing_file"
                else "review"
                if flag in doubtful and row.status == "review"
                else "noted"
            )
            log.add(row.study_id, flag, effect)
    return questions


def split_rows(rows: list[CurationRow], step: SplitStep, out: Path, log: StepLog) -> None:
    """Assign each accepted row to a split, and flag patients that are in more than one.

    Args:
        rows: changed in place.
        step: how to divide.
        out: the folder of the curated archive.
        log: receives the split of each row.
    """
    archive_splits = [_archive_split(row) if step.strategy == "column" else "" for row in rows]
    manifest = _manifest(rows, out).with_column("split", archive_splits)
    split = assign_splits(manifest, step.strategy, step.seed, step.fractions, allow_patient_overlap=True)
    crossing = {finding.study_id for finding in patients_in_two_splits(manifest.with_column("split", split.names))}
    for row, name in zip(rows, split.names, strict=True):
        row.split = name
        if row.study_id in crossing:
            row.flags = (*row.flags, "patient_in_two_splits")
        if name:
            log.add(row.study_id, name, split.strategy)


def manifest_table(
    rows: list[CurationRow], measured: Sequence[Measured | None], columns: dict[str, str]
) -> pd.DataFrame:
    """Return the manifest.

    Args:
        rows: all rows.
        measured: the facts of each row's volume.
        columns: further columns, with the same text in every row.
    """
    lines = []
    for row, facts in zip(rows, measured, strict=True):
        study = row.ingested.study
        cells = {
            "study_id": study.study_id,
            "volume": row.ingested.volume,
            "report": row.report,
            "patient_id": study.patient_id,
            "report_id": study.report_id,
            "report_original": row.original,
            "language": row.language,
            "labels": ";".join(row.labels),
            "labels_source": row.labels_source,
            "archive_labels": ";".join(study.labels),
            "split": row.split,
            "status": row.status,
            "flags": ";".join(row.flags),
            "shard": study.shard,
            "sha256": row.ingested.sha256,
            **geometry_columns(facts),
        }
        further = columns | dict(sorted(study.columns.items())) | columns
        lines.append(cells | {name: text for name, text in further.items() if name not in cells})
    return pd.DataFrame(lines).fillna("")


def _named(volume: Path, out: Path) -> str:
    """Return the absolute path of a volume; relative to the out folder if a folder above is in no encoding."""
    absolute = volume.absolute()
    return str(absolute) if is_plain(absolute) else os.path.relpath(volume, out)


def _archive_split(row: CurationRow) -> str:
    """Return the split that the archive or the user's own table names, if it is one of `SPLITS`."""
    columns = row.ingested.study.columns
    name = columns.get("archive_split") or columns.get("split", "")
    return name if name in SPLITS else ""


def _manifest(rows: list[CurationRow], out: Path) -> Manifest:
    """Return the rows as a manifest for the checks: with the archive's own volumes, not the denoised ones."""
    originals = [
        replace(row.ingested, volume=_named(row.ingested.study.volume, out), sha256=row.ingested.source_sha256)
        for row in rows
    ]
    table = manifest_table(
        [replace(row, ingested=ingested) for row, ingested in zip(rows, originals, strict=True)], [None] * len(rows), {}
    )
    return Manifest(table.assign(split=""), out / "manifest.csv", out)
