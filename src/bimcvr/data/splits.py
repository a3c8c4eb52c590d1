"""Split strategies: one function for each way to divide a manifest into train, val and test."""

import hashlib
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bimcvr.data.manifest import SPLITS, Manifest
from bimcvr.errors import UserError

Strategy = Literal["patient_hash", "exact", "row_order", "shard", "column"]
Fractions = Sequence[float]


@dataclass(frozen=True)
class SplitAssignment:
    """The split of every row of a manifest.

    Attributes:
        names: `train`, `val` or `test` for each row; empty for rows that do not take part.
        strategy: how it was made, with its parameters.
        patient_overlap: how many patients are in more than one split; None if the manifest names no patients.
    """

    names: list[str]
    strategy: str
    patient_overlap: int | None

    def rows(self, name: str) -> np.ndarray:
        """Return the positions of a split's rows, ascending."""
        return np.flatnonzero(np.asarray(self.names) == name)

    def refuse_empty(self, name: str, manifest: Path) -> None:
        """Refuse to train or evaluate on a split without rows.

        Args:
            name: train, val or test.
            manifest: the manifest's file, for the message.

        Raises:
            UserError: the split is empty.
        """
        if not len(self.rows(name)):
            raise UserError(
                f"The split '{name}' of {manifest} is empty ({self.strategy}: {self.shares()}). Add studies, change"
                " data.fractions, or fill the `split` column."
            )

    def without(self, rows: Collection[int]) -> "SplitAssignment":
        """Return the assignment in which some rows do not take part."""
        return replace(self, names=["" if row in rows else name for row, name in enumerate(self.names)])

    def shares(self) -> str:
        """Describe the realised sizes, like `train 700 (70.0 %), val …`."""
        total = sum(1 for name in self.names if name)
        counts = {name: len(self.rows(name)) for name in SPLITS}
        return ", ".join(f"{name} {n} ({100 * n / max(total, 1):.1f} %)" for name, n in counts.items())


def assign_splits(
    manifest: Manifest,
    strategy: Strategy | None = None,
    seed: int = 0,
    fractions: Fractions = (0.7, 0.1, 0.2),
    allow_patient_overlap: bool = False,
) -> SplitAssignment:
    """Divide the accepted rows of a manifest.

    Args:
        manifest: the dataset.
        strategy: one of `STRATEGIES`; None takes the manifest's `split` column where it is filled, and
            `patient_hash` for the other rows.
        seed: of `exact`'s permutation, and the salt of `patient_hash`.
        fractions: wanted shares of train, val and test.
        allow_patient_overlap: let a `split` column put one patient into two splits. The paper's and the
            release's own strategies (`exact`, `row_order`, `shard`) always may; every result then says so.

    Raises:
        UserError: a needed column is missing, or a patient is in two splits.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"The fractions {list(fractions)} are not three shares of train, val and test that add up to 1."
        )
    rows = manifest.accepted()
    names = [""] * len(manifest)
    chosen: str = strategy or _default(manifest, rows)
    for row, split in zip(rows, STRATEGIES[chosen](manifest, rows, seed, fractions), strict=True):
        names[row] = split
    overlap = _patient_overlap(manifest, names)
    if overlap and chosen.startswith("column") and not allow_patient_overlap:
        raise UserError(
            f"{manifest.path}: {overlap[0]} has studies in more than one split ({len(overlap)} such patients), "
            "so test figures would be too high. Correct the `split` column, set data.strategy to patient_hash, "
            "or set data.allow_patient_overlap to true: every result will then say so."
        )
    parameters = {"patient_hash": f", salt {seed}", "study_hash": f", salt {seed}", "exact": f", seed {seed}"}.get(
        chosen, ""
    )
    known = any(manifest.column("patient_id"))
    return SplitAssignment(names, chosen + parameters, len(overlap) if known else None)


def patient_hash(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Assign each patient by a salted hash of the id: adding studies moves no other patient."""
    patients = manifest.column("patient_id")
    missing = [row for row in rows if not patients[row]]
    if missing:
        raise UserError(
            f"{manifest.path}: the study '{manifest.column('study_id')[missing[0]]}' has no patient_id, so the split by"
            " patient (patient_hash) cannot be made. Fill in the column patient_id, or set data.strategy to exact (by"
            " study, as the paper) or column."
        )
    return [_hash_split(patients[row], seed, fractions) for row in rows]


def study_hash(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Assign each study by a salted hash of its id: what `patient_hash` is where the manifest names no patients."""
    warnings.warn(
        f"{manifest.path} names no patients (column patient_id): every study counts as a patient of its own. A"
        " patient's studies may then be in two splits, and test figures too high.",
        stacklevel=2,
    )
    studies = manifest.column("study_id")
    return [_hash_split(studies[row], seed, fractions) for row in rows]


def exact(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Permute the studies with a seed and cut by largest remainder (the paper: 5,648 / 807 / 1,614 of 8,069)."""
    names = np.empty(len(rows), dtype=object)
    names[np.random.default_rng(seed).permutation(len(rows))] = _in_order(len(rows), fractions)
    return [str(name) for name in names]


def row_order(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Cut the rows in file order, as the released training script does: no shuffle, no patients."""
    return _in_order(len(rows), fractions)


def shard(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Divide the shards in the order of their names, as the authors answered: 7 of 10, 1, 2."""
    shards = manifest.column("shard")
    missing = [row for row in rows if not shards[row]]
    if missing:
        raise UserError(
            f"{manifest.path}: the study '{manifest.column('study_id')[missing[0]]}' has no shard, so the split by"
            " shard cannot be made. Fill in a column `shard` with the archive each volume came from, or choose another"
            " data.strategy."
        )
    names = sorted({shards[row] for row in rows}, key=lambda name: (len(name), name))
    split_of = dict(zip(names, _in_order(len(names), fractions), strict=True))
    return [split_of[shards[row]] for row in rows]


def column(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Take the manifest's `split` column; rows where it is empty are not used."""
    split_names = manifest.column("split")
    if not any(split_names):
        raise UserError(
            f"{manifest.path} has no filled `split` column. Fill it with {', '.join(SPLITS)}, "
            "or set data.strategy to patient_hash."
        )
    return [split_names[row] for row in rows]


def column_and_patient_hash(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Take the `split` column; an empty row goes to the split of its patient, else to that of the patient's hash."""
    split_names = manifest.column("split")
    filled = [split_names[row] for row in rows]
    patients = manifest.column("patient_id")
    patient_split = {patients[row]: split for row, split in zip(rows, filled, strict=True) if split and patients[row]}
    empty = np.asarray([row for row, split in zip(rows, filled, strict=True) if not split], dtype=np.int64)
    by_hash = patient_hash if any(patients) else study_hash
    hashed = dict(zip(empty.tolist(), by_hash(manifest, empty, seed, fractions), strict=True))
    return [split or patient_split.get(patients[row]) or hashed[row] for row, split in zip(rows, filled, strict=True)]


STRATEGIES: dict[str, Callable[[Manifest, np.ndarray, int, Fractions], list[str]]] = {
    "patient_hash": patient_hash,
    "study_hash": study_hash,
    "exact": exact,
    "row_order": row_order,
    "shard": shard,
    "column": column,
    "column, else patient_hash": column_and_patient_hash,
}


def _default(manifest: Manifest, rows: np.ndarray) -> str:
    split_names = manifest.column("split")
    filled = [bool(split_names[row]) for row in rows]
    if not any(filled):
        return "patient_hash" if any(manifest.column("patient_id")) else "study_hash"
    return "column" if all(filled) else "column, else patient_hash"


def _hash_split(patient: str, salt: int, fractions: Fractions) -> str:
    digest = hashlib.sha256(f"{salt}:{patient}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if position < fractions[0] else "val" if position < fractions[0] + fractions[1] else "test"


def _in_order(count: int, fractions: Fractions) -> list[str]:
    """Return `count` split names, train first, in sizes by largest remainder (ties go to the earlier)."""
    exact_sizes = np.asarray(fractions, dtype=np.float64) * count
    sizes = np.floor(exact_sizes + 1e-9).astype(int)
    for position in np.argsort(-(exact_sizes - sizes), kind="stable")[: count - sizes.sum()]:
        sizes[position] += 1
    return [name for name, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]


def _patient_overlap(manifest: Manifest, names: list[str]) -> list[str]:
    seen: dict[str, set[str]] = {}
    for patient, split in zip(manifest.column("patient_id"), names, strict=True):
        if patient and split:
            seen.setdefault(patient, set()).add(split)
    return sorted(patient for patient, splits in seen.items() if len(splits) > 1)
