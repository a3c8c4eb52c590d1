"""The result of one check."""

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "failing"]


class CheckResult(NamedTuple):
    """One line of the report of `doctor`.

    Attributes:
        state: ok; warning, where something may be slow or absent that is not needed yet; failing.
        what: What was checked.
        found: What was found.
        remedy: What to do, unless the state is ok.
    """

    state: State
    what: str
    found: str
    remedy: str = ""
