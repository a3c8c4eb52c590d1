"""A flag that the audit raised for a row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A flag that the audit raised for a row, with its evidence. The row itself is kept.

    Attributes:
        study_id: the row.
        flag: the name of the flag, as in the manifest's `flags` column.
        evidence: the observation in one line: numbers, ids, the offending words.
    """

    study_id: str
    flag: str
    evidence: str
