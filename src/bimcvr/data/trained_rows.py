"""Which rows a model was trained on: hashes that travel with its checkpoints and embeddings."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from bimcvr.data.manifest import Manifest, normalised_text
from bimcvr.errors import UserError

UNSEEN, OWN_SPLIT, PATIENT, ROW = range(4)
"""What a model has seen of a row: nothing; its patient, by the run's own split; its patient; the row itself."""

# so many rows that share names with rows of the training, but neither volume nor report, are of another archive
_NAMESAKES = 5
_WORDS = 5  # a shorter report may be another study's too


@dataclass(frozen=True)
class TrainedRows:
    """Hashes of the rows that a model was trained on; ids and reports themselves stay where they are.

    Attributes:
        study: (n,) int64, of study ids, ascending.
        patient: of patient ids.
        volume: of voxels on the model's grid.
        report: of normalised reports.
        held_out: of the study ids of the run's rows that were not trained on.
    """

    study: np.ndarray
    patient: np.ndarray
    volume: np.ndarray
    report: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, manifest: Manifest, split: list[str], volumes: Mapping[int, str]) -> Self:
        """Hash the training rows of a manifest.

        Args:
            manifest: the dataset.
            split: the split of each row.
            volumes: identity of the voxels of rows, as far as it is known.
        """
        trained = [row for row, name in enumerate(split) if name == "train"]
        studies, patients, reports = (manifest.column(name) for name in ("study_id", "patient_id", "report"))
        return cls(
            study=_hashes(studies[row] for row in trained),
            patient=_hashes(patients[row] for row in trained),
            volume=_hashes(volumes.get(row, "") for row in trained),
            report=_hashes(_text(reports[row]) for row in trained),
            held_out=_hashes(studies[row] for row, name in enumerate(split) if name and name != "train"),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from `arrays()`.

        Raises:
            KeyError: one is missing.
        """
        return cls(**{field.name: np.asarray(arrays[field.name], dtype=np.int64) for field in fields(cls)})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the hashes by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def joined(self, other: "TrainedRows | None") -> "TrainedRows":
        """Return the rows of both: those of a run and of the run whose weights it began with."""
        if other is None:
            return self
        mine, others = self.arrays(), other.arrays()
        joined = {name: np.union1d(mine[name], others[name]) for name in mine}
        # a row is held out of the whole only if neither was trained on it
        return TrainedRows(**{**joined, "held_out": np.setdiff1d(self.held_out, other.study)})

    def seen(self, manifest: Manifest, rows: np.ndarray, volumes: Mapping[int, str]) -> np.ndarray:
        """Say of rows what the model has seen of them.

        Names of many rows that are those of training rows while no volume and no report is the same are taken for
        names of another archive; `namesakes` counts them.

        Args:
            manifest: the dataset.
            rows: (N,) positions in it.
            volumes: identity of the voxels of rows, as far as it is known.

        Returns:
            (N,) uint8: UNSEEN, OWN_SPLIT, PATIENT or ROW.
        """
        studies, patients, reports = (manifest.column(name) for name in ("study_id", "patient_id", "report"))
        study, patient, volume, report = (
            np.isin(_each_hash(values), known)
            for values, known in (
                ((studies[row] for row in rows), self.study),
                ((patients[row] for row in rows), self.patient),
                ((volumes.get(row, "") for row in rows.tolist()), self.volume),
                ((_text(reports[row]) for row in rows), self.report),
            )
        )
        own = np.isin(_each_hash(studies[row] for row in rows), self.held_out)
        if study.sum() >= _NAMESAKES and not (study & (volume | report)).any():
            study, patient = np.zeros_like(study), np.zeros_like(patient)
        level = np.where(patient, np.where(own, OWN_SPLIT, PATIENT), UNSEEN)
        return np.where(study | volume, ROW, level).astype(np.uint8)

    def namesakes(self, manifest: Manifest, rows: np.ndarray, seen: np.ndarray) -> int:
        """Count the rows that have a name of the training's rows or patients, and are held to be of another archive.

        Args:
            manifest: the dataset.
            rows: (N,) positions in it.
            seen: (N,) what the model has seen of them, by all that is known.
        """
        named = np.zeros(len(rows), dtype=bool)
        for column, known in (("study_id", self.study), ("patient_id", self.patient)):
            values = manifest.column(column)
            named |= np.isin(_each_hash(values[row] for row in rows), known)
        return int((named & (seen == UNSEEN)).sum())


def describe_seen(seen: np.ndarray) -> dict[str, int]:
    """Count what a result has to state: rows that were trained on, and rows of patients that were trained on."""
    return {"rows": int((seen == ROW).sum()), "patients_rows": int(np.isin(seen, (OWN_SPLIT, PATIENT)).sum())}


def refuse_seen(seen: np.ndarray, study_id: list[str], what: str, remedy: str) -> None:
    """Refuse rows that were trained on.

    Args:
        seen: (N,) what the model has seen of each row.
        study_id: their N names.
        what: what they are and what was trained on them, to begin the message with.
        remedy: the sentence that ends it.

    Raises:
        UserError: a row was trained on, or its patient was without the run's own split wanting it.
    """
    told = [
        f"{len(names)} {verb} ({', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''})"
        for level, verb in ((ROW, "were trained on"), (PATIENT, "are of patients that were trained on"))
        if (names := [study_id[row] for row in np.flatnonzero(seen == level)])
    ]
    if told:
        raise UserError(
            f"{what}: of {len(seen)} rows {' and '.join(told)}. Figures on them would be too high. {remedy}"
        )


def report_hashes(reports: Iterable[str]) -> np.ndarray:
    """Hash normalised reports → (N,) int64; they tell whether two files are about the same texts."""
    return _each_hash(normalised_text(report) for report in reports)


def _text(report: str) -> str:
    text = normalised_text(report)
    return text if len(text.split()) >= _WORDS else ""


def _each_hash(values: Iterable[str]) -> np.ndarray:
    """Hash each value → int64; empty ones become 0, which no set has."""
    digests = [
        hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest() if value else bytes(8)
        for value in values
    ]
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def _hashes(values: Iterable[str]) -> np.ndarray:
    return np.setdiff1d(_each_hash(values), [0])
