"""What becomes of a row: the audit's flags decide, and reviewers decide over them; nothing disappears."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bimcvr.curation.anonymise.anonymiser import Anonymiser
from bimcvr.curation.audit.audit import audit_manifest, geometry_columns
from bimcvr.curation.audit.cohort_checks import patients_in_two_splits
from bimcvr.curation.audit.facts_cache import Measured
from bimcvr.curation.audit.flags import VOLUME_FLAGS
from bimcvr.curation.audit.report_checks import SPANISH_SHARE, SPANISH_WORDS, spanish_share
from bimcvr.curation.pipeline.ingest import Recipe
from bimcvr.curation.pipeline.rows import Row
from bimcvr.curation.pipeline.step_log import StepLog
from bimcvr.curation.review.queue import Question, Verdict
from bimcvr.data.manifest import SPLITS, Manifest
from bimcvr.data.splits import Strategy, assign_splits
from bimcvr.errors import UserError

REPORT_SIDE = ("report_short", "placeholder", "untranslated", "wrong_modality", "duplicate_report", "mismatch_ids")
KNOWN = (*REPORT_SIDE, *VOLUME_FLAGS, "duplicate_volume")


@dataclass(frozen=True)
class Checks:
    """Which flags of the audit decide; all others are noted on the row and change nothing.

    A volume that cannot be read is rejected in any case.

    Attributes:
        reject: the row takes no part; by default the paper's three filters.
        review: the row waits for a reviewer; by default texts that are no report, and that a person can replace.
    """

    reject: Sequence[str] = ("report_short", "missing_voxels", "too_small")
    review: Sequence[str] = ("placeholder", "untranslated")

    def __post_init__(self) -> None:
        for flag in (*self.reject, *self.review):
            if flag not in KNOWN:
                near = difflib.get_close_matches(flag, KNOWN, n=1, cutoff=0.5)
                hint = f"Did you mean '{near[0]}'?" if near else f"Use {', '.join(KNOWN)}."
                raise UserError(f"checks: there is no flag '{flag}'. {hint}")


@dataclass(frozen=True)
class SplitStep:
    """How accepted rows are divided.

    Attributes:
        strategy: as `data.split` of fit; `column` takes the archive's own split, where it has one.
        seed: the salt of `patient_hash`, the permutation of `exact`.
        fractions: wanted shares of train, val and test.
    """

    strategy: Strategy = "patient_hash"
    seed: int = 0
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)


def take_in_verdicts(
    rows: list[Row], verdicts: dict[str, Verdict], anonymiser: Anonymiser | None, log: StepLog
) -> None:
    """Put the texts that reviewers accepted or wrote into the rows."""
    for row in rows:
        verdict = verdicts.get(row.study_id)
        if verdict is None or not verdict.decision:
            continue
        if verdict.decision == "correct":
            row.report = anonymiser(verdict.corrected).text if anonymiser else verdict.corrected
            share, count = spanish_share(row.report)
            row.language = "es" if share >= SPANISH_SHARE and count >= SPANISH_WORDS else "en"
        elif verdict.decision == "accept" and row.doubts and row.asked != row.original:
            row.report, row.language = row.asked, "en"
        log.add(row.study_id, verdict.decision, f"by {len(verdict.reviewers)} reviewers")


def flag_rows(rows: list[Row], recipe: Recipe, jobs: int) -> list[Measured | None]:
    """Note on each row what the audit finds, and return the facts of its volume."""
    result = audit_manifest(_manifest(rows, recipe.out), recipe.facts, jobs)
    for row, flags in zip(rows, result.flags(), strict=True):
        row.flags = tuple(dict.fromkeys([*flags, *row.flags]))
    return [result.measured.get(place) for place in range(len(rows))]


def refuse_unusable(rows: list[Row], recipe: Recipe) -> None:
    """Reject rows whose volume cannot be read, or is neither on disk nor in the cache."""
    for row in rows:
        kept = recipe.kept(row.taken)
        gone = not (recipe.out / row.taken.volume).exists() and not (kept and kept.exists())
        refused = row.taken.refused or ("missing_file" if gone else "")
        if refused:
            row.flags = tuple(dict.fromkeys([*row.flags, refused]))
            row.status = "rejected"


def decide(
    rows: list[Row], checks: Checks | None, verdicts: dict[str, Verdict], ask: bool, log: StepLog
) -> list[Question]:
    """Set the status of each row.

    Args:
        rows: with their flags.
        checks: which flags decide; None for none.
        verdicts: of the reviewers.
        ask: whether there is a review queue: without one nothing waits for it.
        log: of what each flag has done.

    Returns:
        What reviewers are to be asked.
    """
    checks = checks or Checks((), ())
    questions = []
    for row in rows:
        rejecting = [flag for flag in row.flags if flag in checks.reject]
        doubtful = [flag for flag in row.flags if flag in checks.review]
        reason = "; ".join([*doubtful, *row.doubts])
        verdict = verdicts.get(row.study_id)
        decision = verdict.decision if verdict else ""
        if rejecting or decision == "reject":
            row.status = "rejected"
        elif reason and ask and not decision and row.status == "ok":
            row.status = "review"
            questions.append(Question(row.study_id, reason, row.asked))
        for flag in row.flags:
            effect = (
                "rejected"
                if flag in rejecting or flag == row.taken.refused or flag == "missing_file"
                else "review"
                if flag in doubtful and row.status == "review"
                else "noted"
            )
            log.add(row.study_id, flag, effect)
    return questions


def split_rows(rows: list[Row], step: SplitStep, out: Path, log: StepLog) -> None:
    """Give each accepted row its split, and note patients that stand in two."""
    given = [_own_split(row) if step.strategy == "column" else "" for row in rows]
    manifest = _manifest(rows, out).with_column("split", given)
    split = assign_splits(manifest, step.strategy, step.seed, step.fractions, allow_patient_overlap=True)
    crossing = {finding.study_id for finding in patients_in_two_splits(manifest.with_column("split", split.name))}
    for row, name in zip(rows, split.name, strict=True):
        row.split = name
        if row.study_id in crossing:
            row.flags = (*row.flags, "patient_in_two_splits")
        if name:
            log.add(row.study_id, name, split.strategy)


def table_of(rows: list[Row], measured: Sequence[Measured | None], columns: dict[str, str]) -> pd.DataFrame:
    """Return the manifest.

    Args:
        rows: all of them.
        measured: the facts of their volumes.
        columns: further columns with the same text in every row.
    """
    lines = []
    for row, facts in zip(rows, measured, strict=True):
        study = row.taken.study
        own = {
            "study_id": study.study_id,
            "volume": row.taken.volume,
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
            "sha256": row.taken.sha256,
            **geometry_columns(facts),
        }
        further = columns | dict(sorted(study.columns.items())) | columns
        lines.append(own | {name: text for name, text in further.items() if name not in own})
    return pd.DataFrame(lines).fillna("")


def _own_split(row: Row) -> str:
    """Return the split that the archive or one's own table names, if it is one."""
    columns = row.taken.study.columns
    name = columns.get("archive_split") or columns.get("split", "")
    return name if name in SPLITS else ""


def _manifest(rows: list[Row], out: Path) -> Manifest:
    """Return the rows as the checks see them: with the archive's own volumes, not denoised ones."""
    as_found = [
        replace(row.taken, volume=str(row.taken.study.volume.absolute()), sha256=row.taken.source_sha256)
        for row in rows
    ]
    table = table_of(
        [replace(row, taken=taken) for row, taken in zip(rows, as_found, strict=True)], [None] * len(rows), {}
    )
    return Manifest(table.assign(split=""), out / "manifest.csv", out)
