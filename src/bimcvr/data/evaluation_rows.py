"""The rows of an evaluation: who they are, which answers are right, what is held against them."""

import re
import warnings
from collections import Counter

import numpy as np
import pandas as pd

from bimcvr.contracts import Gallery, Probe
from bimcvr.data.counterfactual.changes import changed_reports
from bimcvr.data.counterfactual.rules import FINDING_SYNONYMS
from bimcvr.data.manifest import ELSEWHERE_FLAGS, Manifest, normalised_text, report_groups, split_list
from bimcvr.data.splits import Fractions, Split, Strategy, assign_splits
from bimcvr.errors import UserError


def rows_of(
    manifest: Manifest,
    split: str,
    strategy: Strategy | None = None,
    seed: int = 0,
    fractions: Fractions = (0.7, 0.1, 0.2),
) -> tuple[np.ndarray, Split]:
    """Return the accepted rows of a split (N,), or of the whole manifest for `all`, and how it was divided.

    Whether patients stand in two splits is said beside every figure; here it is no reason to stop.

    Raises:
        UserError: the split is empty, or cannot be made.
    """
    if split == "all":
        return manifest.accepted(), Split([""] * len(manifest), "none", None)
    division = assign_splits(manifest, strategy, seed, fractions, allow_patient_overlap=True)
    rows = division.rows(split)
    if not len(rows):
        raise UserError(
            f"The split '{split}' of {manifest.path} is empty ({division.strategy}: {division.shares()}). Choose"
            " another split (all: every accepted row), another strategy or other fractions."
        )
    return rows, division


def make_gallery(manifest: Manifest, rows: np.ndarray, division: Split, split: str) -> Gallery:
    """Describe some rows of a manifest as an evaluation sees them.

    Args:
        manifest: the dataset.
        rows: (N,) positions in it, ascending.
        division: how the manifest was divided.
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
        elsewhere=np.array([any(flag.startswith(ELSEWHERE_FLAGS) for flag in own) for own in flags], dtype=bool),
        flagged=np.array([bool(own) for own in flags], dtype=bool),
        patient=[patients[row] or studies[row] for row in rows],
        labels=[split_list(labels[row]) for row in rows],
        description={
            "split": split,
            "split_strategy": division.strategy,
            "split_shares": division.shares(),
            "patient_overlap": division.patient_overlap,
            "manifest": str(manifest.path),
            "manifest_hash": manifest.digest,
            "synthetic": manifest.is_phantom,
        },
    )


def make_probes(manifest: Manifest, rows: np.ndarray) -> list[Probe]:
    """Return every report of some rows with one thing changed, in each kind that applies to it.

    The rows' `language` is read without its region (`en-US`, `ES`). Reports in a third language are left out with a
    warning.
    """
    studies, reports, cells = (manifest.column(name) for name in ("study_id", "report", "language"))
    languages = {row: re.split("[-_]", cells[row].strip().lower())[0] for row in rows}
    others = Counter(name for name in languages.values() if name not in ("", "en", "es"))
    if others:
        warnings.warn(
            f"{others.total()} reports are in languages without rules for counterfactual changes"
            f" ({', '.join(sorted(others))}); the probes leave them out. The column `language` says en, es, or nothing"
            " to have it guessed.",
            stacklevel=2,
        )
    return [
        Probe(studies[row], f"{change.kind}: {change.finding}" if change.finding else change.kind, change.text)
        for row in rows
        if languages[row] not in others
        for change in changed_reports(reports[row], languages[row], FINDING_SYNONYMS)
    ]
