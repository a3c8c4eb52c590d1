"""The refusal of a volume: a reason for the machine, a message for the reader."""

from pathlib import Path

from bimcvr.errors import UserError


class RefusedVolume(UserError):
    """A source that cannot be turned into HU on a regular grid.

    Args:
        reason: a short name to count by, like `variable_gaps`.
        path: the file or DICOM folder.
        wrong: what is wrong with it, as the end of a sentence that begins with the path.
        remedy: what to do about it, as a sentence.

    Attributes:
        reason: the short name.
    """

    def __init__(self, reason: str, path: Path | str, wrong: str, remedy: str) -> None:
        # all four go to the base class: workers send exceptions pickled, and are rebuilt from these arguments
        super().__init__(reason, str(path), wrong, remedy)
        self.reason = reason

    def __str__(self) -> str:
        _, path, wrong, remedy = self.args
        return f"{path} {wrong} {remedy}"
