"""Progress of a suite: what runs, and the estimated time left."""

from collections.abc import Mapping, Sequence
from statistics import mean
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.status import Status

from bimcvr.errors import printable
from bimcvr.suites.runs import Run


class SuiteProgress:
    """Prints one line for each run that ended, and keeps a status line with what runs and the time left.

    Args:
        jobs: runs side by side.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.console = Console(soft_wrap=True)
        self.status = Status("", console=self.console)
        self.seconds: dict[str, list[float]] = {}
        self.left: Sequence[str] = ()

    def __enter__(self) -> "SuiteProgress":
        self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.status.stop()

    def show(self, left: Sequence[str], active: Sequence[str]) -> None:
        """Update the status line.

        Args:
            left: The row of each run that has not ended.
            active: The runs that are under way.
        """
        self.left = left
        self.status.update(f"{len(left)} runs left{self._remaining()}; now: {'; '.join(active)}")

    def note(self, run: Run, record: Mapping[str, Any], seconds: float) -> None:
        """Print how a run ended."""
        if record["status"] == "done":
            self.seconds.setdefault(run.row, []).append(seconds)
        reason = f": {record['reason']}" if "reason" in record else ""
        ended = f"{run}: {record['status']}{reason} ({seconds:.0f} s)"
        self.console.print(
            printable(f"{ended}; {len(self.left) - 1} runs left{self._remaining()}"),
            markup=False,
            highlight=False,
        )

    def _remaining(self) -> str:
        """Estimate the time left from the runs so far: a row's own where there are any."""
        known = [second for seconds in self.seconds.values() for second in seconds]
        if not known:
            return ""
        estimate = sum(mean(self.seconds.get(name, known)) for name in self.left) / self.jobs
        return f", about {estimate / 60:.0f} min" if estimate > 90 else f", about {estimate:.0f} s"
