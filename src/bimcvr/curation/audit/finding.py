"""What the audit holds against a row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that the audit holds against a row: never a silent deletion.

    Attributes:
        study_id: the row.
        flag: the finding's name, as it stands in the manifest's `flags`.
        evidence: what was seen, in one line: numbers, ids, the offending words.
    """

    study_id: str
    flag: str
    evidence: str
