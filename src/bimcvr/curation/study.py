"""A study as an archive gives it, and what a source could not take in."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SourceStudy:
    """One volume of an archive with the report that the archive says is its own.

    Attributes:
        study_id: the row's unique name: two volumes of one examination are `ses-1_run-1` and `ses-1_run-2`.
        volume: the file, or the folder of DICOM slices.
        report: the text as the archive has it, in whatever language.
        language: `en`, `es` or empty where the archive does not say.
        patient_id: empty where the archive does not say.
        report_id: the examination's name: volumes that share a report share it.
        shard: the archive file that the volume came in; empty for folders.
        labels: as the archive gives them.
        translation: the archive's own English text, where it has one beside the original.
        columns: further facts for the manifest (age, sex, scanner, kernel …), never a person's.
    """

    study_id: str
    volume: Path
    report: str
    language: str = ""
    patient_id: str = ""
    report_id: str = ""
    shard: str = ""
    labels: tuple[str, ...] = ()
    translation: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SetAside:
    """What a source could not take in.

    Attributes:
        name: the file or row.
        reason: a short name, as `truncated` or `path_traversal`.
        message: what is wrong and what to do, in one line.
    """

    name: str
    reason: str
    message: str
