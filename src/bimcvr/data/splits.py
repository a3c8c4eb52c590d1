"""Dividing a manifest into train, val and test: one function a strategy, its name in every result."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bimcvr.data.manifest import SPLITS, Manifest
from bimcvr.errors import UserError

Strategy = Literal["patient_hash", "exact", "row_order", "shard", "column"]
Fractions = Sequence[float]


@dataclass(frozen=True)
class Split:
    """Where every row of a manifest belongs.

    Attributes:
        name: `train`, `val` or `test` a row; empty for rows that are set aside.
        strategy: how it was made, with its parameters.
        patient_overlap: how many patients stand in more than one split; None if the manifest names none.
    """

    name: list[str]
    strategy: str
    patient_overlap: int | None

    def rows(self, name: str) -> np.ndarray:
        """Return the positions of a split's rows, ascending."""
        return np.flatnonzero(np.asarray(self.name) == name)

    def shares(self) -> str:
        """Describe the realised sizes, like `train 700 (70.0 %), val …`."""
        total = sum(1 for name in self.name if name)
        counts = {name: len(self.rows(name)) for name in SPLITS}
        return ", ".join(f"{name} {n} ({100 * n / max(total, 1):.1f} %)" for name, n in counts.items())


def assign_splits(
    manifest: Manifest,
    strategy: Strategy | None = None,
    seed: int = 0,
    fractions: Fractions = (0.7, 0.1, 0.2),
    allow_patient_overlap: bool = False,
) -> Split:
    """Divide the accepted rows of a manifest.

    Args:
        manifest: the dataset.
        strategy: a function of this module; None takes the manifest's `split` column where it is filled in,
            and `patient_hash` for what lacks.
        seed: of `exact`'s permutation, and the salt of `patient_hash`.
        fractions: wanted shares of train, val and test.
        allow_patient_overlap: let a `split` column put one patient into two splits. The paper's and the
            release's own strategies (`exact`, `row_order`, `shard`) always may; every result then says so.

    Raises:
        UserError: a needed column is missing, or a patient stands in two splits.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"The fractions {list(fractions)} are not three shares of train, val and test that add up to 1."
        )
    rows = manifest.accepted()
    name = [""] * len(manifest)
    chosen: str = strategy or _default(manifest, rows)
    for row, split in zip(rows, STRATEGIES[chosen](manifest, rows, seed, fractions), strict=True):
        name[row] = split
    overlap = _patient_overlap(manifest, name)
    if overlap and chosen.startswith("column") and not allow_patient_overlap:
        raise UserError(
            f"{manifest.path}: {overlap[0]} has studies in more than one split ({len(overlap)} such patients), "
            "so test figures would be too high. Mend the `split` column, set data.split to patient_hash, "
            "or set data.allow_patient_overlap to true: every result will then say so."
        )
    parameters = {"patient_hash": f", salt {seed}", "exact": f", seed {seed}"}.get(chosen, "")
    known = any(manifest.column("patient_id"))
    return Split(name, chosen + parameters, len(overlap) if known else None)


def patient_hash(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Place each patient by a salted hash of the id: adding studies moves none of the others."""
    patients = manifest.column("patient_id")
    missing = [row for row in rows if not patients[row]]
    if missing:
        raise UserError(
            f"{manifest.path}: the study '{manifest.column('study_id')[missing[0]]}' has no patient_id, so the split by"
            " patient (patient_hash) cannot be made. Fill in the column patient_id, or set data.split to exact (by"
            " study, as the paper) or column."
        )
    return [_hash_split(patients[row], seed, fractions) for row in rows]


def exact(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Permute the studies with a seed and cut by largest remainder (the paper: 5,648 / 807 / 1,614 of 8,069)."""
    names = np.empty(len(rows), dtype=object)
    names[np.random.default_rng(seed).permutation(len(rows))] = _in_order(len(rows), fractions)
    return [str(name) for name in names]


def row_order(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Cut the rows in file order, as the released training script does: no shuffle, no patients."""
    return _in_order(len(rows), fractions)


def shard(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Cut the list of shards in the order of their names, as the authors answered: 7 of 10, 1, 2."""
    shards = manifest.column("shard")
    missing = [row for row in rows if not shards[row]]
    if missing:
        raise UserError(
            f"{manifest.path}: the study '{manifest.column('study_id')[missing[0]]}' has no shard, so the split by"
            " shard cannot be made. Fill in a column `shard` with the archive each volume came from, or choose another"
            " data.split."
        )
    names = sorted({shards[row] for row in rows}, key=lambda name: (len(name), name))
    of_shard = dict(zip(names, _in_order(len(names), fractions), strict=True))
    return [of_shard[shards[row]] for row in rows]


def column(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Take the manifest's `split` column; rows where it is empty stay unused."""
    if not any(manifest.column("split")):
        raise UserError(
            f"{manifest.path} has no filled `split` column. Fill it with {', '.join(SPLITS)}, "
            "or set data.split to patient_hash."
        )
    return [manifest.column("split")[row] for row in rows]


def column_and_patient_hash(manifest: Manifest, rows: np.ndarray, seed: int, fractions: Fractions) -> list[str]:
    """Take the `split` column; a row without goes where its patient is, else where the hash puts the patient."""
    given = [manifest.column("split")[row] for row in rows]
    patients = manifest.column("patient_id")
    of_patient = {patients[row]: split for row, split in zip(rows, given, strict=True) if split and patients[row]}
    lacking = np.asarray([row for row, split in zip(rows, given, strict=True) if not split], dtype=np.int64)
    hashed = dict(zip(lacking.tolist(), patient_hash(manifest, lacking, seed, fractions), strict=True))
    return [split or of_patient.get(patients[row]) or hashed[row] for row, split in zip(rows, given, strict=True)]


STRATEGIES: dict[str, Callable[[Manifest, np.ndarray, int, Fractions], list[str]]] = {
    "patient_hash": patient_hash,
    "exact": exact,
    "row_order": row_order,
    "shard": shard,
    "column": column,
    "column, else patient_hash": column_and_patient_hash,
}


def _default(manifest: Manifest, rows: np.ndarray) -> str:
    filled = [bool(manifest.column("split")[row]) for row in rows]
    if not any(filled):
        return "patient_hash"
    return "column" if all(filled) else "column, else patient_hash"


def _hash_split(patient: str, salt: int, fractions: Fractions) -> str:
    digest = hashlib.sha256(f"{salt}:{patient}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if position < fractions[0] else "val" if position < fractions[0] + fractions[1] else "test"


def _in_order(count: int, fractions: Fractions) -> list[str]:
    """Return `count` split names, train first, in sizes by largest remainder (ties go to the earlier)."""
    wanted = np.asarray(fractions, dtype=np.float64) * count
    sizes = np.floor(wanted + 1e-9).astype(int)
    for place in np.argsort(-(wanted - sizes), kind="stable")[: count - sizes.sum()]:
        sizes[place] += 1
    return [name for name, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]


def _patient_overlap(manifest: Manifest, name: list[str]) -> list[str]:
    seen: dict[str, set[str]] = {}
    for patient, split in zip(manifest.column("patient_id"), name, strict=True):
        if patient and split:
            seen.setdefault(patient, set()).add(split)
    return sorted(patient for patient, splits in seen.items() if len(splits) > 1)
