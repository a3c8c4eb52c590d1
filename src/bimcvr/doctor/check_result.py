"""One line of the doctor's."""

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "failing"]


class CheckResult(NamedTuple):
    """What was looked at and found.

    Attributes:
        state: ok; warning, where something may be slow or absent that is not needed yet; failing.
        what: was looked at.
        found: what was found.
        remedy: what to do, unless all is well.
    """

    state: State
    what: str
    found: str
    remedy: str = ""
