"""A study as it is in its archive, and what a source sets aside."""

from dataclasses import dataclass, field
from pathlib import Path

from bimcvr.data.text.entities import decode_entities


@dataclass(frozen=True)
class SourceStudy:
    """One volume of an archive with the report that the archive assigns to it.

    HTML entities in its texts are decoded, so that no later step sees them.

    Attributes:
        study_id: the unique name of the row: two volumes of one examination are `ses-1_run-1` and `ses-1_run-2`.
        volume: the file, or the folder of DICOM slices.
        report: the text as it is in the archive, in any language.
        language: `en`, `es` or empty where the archive does not say.
        patient_id: empty where the archive does not say.
        report_id: the name of the examination; volumes with the same report have the same one.
        shard: the archive file that the volume came in; empty for folders.
        labels: the archive's own labels.
        translation: the archive's own English text, where it has one beside the original.
        columns: further columns of the manifest (age, sex, scanner, kernel …); never names or ids of people.
        regions: what the archive's second table of texts says about parts of the body, as (region, text).
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
    regions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in ("report", "translation"):
            object.__setattr__(self, name, decode_entities(getattr(self, name)))
        regions = tuple((region, decode_entities(text)) for region, text in self.regions)
        object.__setattr__(self, "regions", regions)


@dataclass(frozen=True)
class SetAside:
    """A file, archive member or table row that a source skipped, with the reason.

    Attributes:
        name: the file or row.
        reason: a short name, such as `truncated` or `path_traversal`.
        message: what is wrong and what to do, in one line.
    """

    name: str
    reason: str
    message: str
