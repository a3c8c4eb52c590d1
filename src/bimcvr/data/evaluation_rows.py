"""The rows of an evaluation: study ids, which answers are right, and counterfactual versions of their reports."""

import re
import warnings
from collections import Counter

import numpy as np
import pandas as pd

from bimcvr.contracts import Gallery, Probe
from bimcvr.data.counterfactual.changes import changed_reports
from bimcvr.data.counterfactual.language_rules import FINDING_SYNONYMS
from bimcvr.data.manifest import ELSEWHERE_FLAGS, Manifest, normalised_text, report_groups, split_list
from bimcvr.data.splits import Fractions, SplitAssignment, Strategy, assign_splits
from bimcvr.errors import UserError, printable


def split_rows(
    manifest: Manifest,
    split: str,
    strategy: Strategy | None = None,
    seed: int = 0,
    fractions: Fractions = (0.7, 0.1, 0.2),
) -> tuple[np.ndarray, SplitAssignment]:
    """Return the accepted rows of a split, and how the manifest was divided.

    Patients in two splits are no error here; `SplitAssignment.patient_overlap` states them beside every figure.

    Args:
        manifest: the dataset.
        split: train, val, test, or all for every accepted row.
        strategy: how to divide the manifest; see `assign_splits`.
        seed: of the strategy.
        fractions: wanted shares of train, val and test.

    Returns:
        Positions in the manifest (N,), ascending, and the assignment of all rows.

    Raises:
        UserError: the split is empty, or cannot be made.
    """
    if split == "all":
        return manifest.accepted(), SplitAssignment([""] * len(manifest), "none", None)
    assignment = assign_splits(manifest, strategy, seed, fractions, allow_patient_overlap=True)
    rows = assignment.rows(split)
    if not len(rows):
        raise UserError(
            f"The split '{split}' of {manifest.path} is empty ({assignment.strategy}: {assignment.shares()}). Choose"
            " another split (all: every accepted row), another strategy or other fractions."
        )
    return rows, assignment


def evaluation_gallery(manifest: Manifest, rows: np.ndarray, assignment: SplitAssignment, split: str) -> Gallery:
    """Return the queries and the gallery of an evaluation: its rows with ids, right answers, flags and labels.

    Args:
        manifest: the dataset.
        rows: (N,) positions in it, ascending.
        assignment: how the manifest was divided.
        split: the rows' name: train, val, test or all.
    """
    studies, patients, labels, reports = (
        manifest.column(name) for name in ("study_id", "patient_id", "labels", "report")
    )
    cells = manifest.column("flags")
    flags = [split_list(cells[row]) for row in rows]
    texts = [normalised_text(reports[row]) for row in rows]
    return Gallery(
        rows=rows,
        study_id=[studies[row] for row in rows],
        group=report_groups(manifest)[rows],
        same_text=pd.factorize(np.array(texts, dtype=object))[0].astype(np.int64),
        elsewhere=np.array(
            [any(flag.startswith(ELSEWHERE_FLAGS) for flag in row_flags) for row_flags in flags], dtype=bool
        ),
        flagged=np.array([bool(row_flags) for row_flags in flags], dtype=bool),
        patient=[patients[row] or studies[row] for row in rows],
        labels=[split_list(labels[row]) for row in rows],
        description={
            "split": split,
            "split_strategy": assignment.strategy,
            "split_shares": assignment.shares(),
            "patient_overlap": assignment.patient_overlap,
            "patients_named": any(patients),
            "manifest": str(manifest.path),
            "manifest_hash": manifest.digest,
            "labels_from": manifest.labels_from,
            "synthetic": manifest.is_phantom,
        },
    )


def counterfactual_probes(manifest: Manifest, rows: np.ndarray) -> list[Probe]:
    """Return counterfactual reports: the report of each row with one thing changed, once for each kind that applies.

    The rows' `language` is read without its region (`en-US`, `ES`). Reports in a third language are left out with a
    warning.

    Args:
        manifest: the dataset.
        rows: (N,) positions in it.
    """
    studies, reports, cells = (manifest.column(name) for name in ("study_id", "report", "language"))
    languages = {row: re.split("[-_]", cells[row].strip().lower())[0] for row in rows}
    others = Counter(name for name in languages.values() if name not in ("", "en", "es"))
    if others:
        names = printable(", ".join(sorted(others)))
        warnings.warn(
            f"{others.total()} reports are in languages without rules for counterfactual changes"
            f" ({names}); the probes leave them out. Set the column `language` to en or es, or"
            " leave it empty to have the language guessed.",
            stacklevel=2,
        )
    return [
        Probe(studies[row], f"{change.kind}: {change.finding}" if change.finding else change.kind, change.text)
        for row in rows
        if languages[row] not in others
        for change in changed_reports(reports[row], languages[row], FINDING_SYNONYMS)
    ]
