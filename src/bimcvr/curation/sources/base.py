"""What the sources share that are read in one piece."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator

from bimcvr.curation.study import SetAside, SourceStudy


class Unsharded(ABC):
    """An archive that is no set of archive files: all of it is one shard, named by the empty string."""

    def shards(self) -> list[str]:
        """Return the one empty name."""
        return [""]

    def faults(self) -> list[SetAside]:
        """Return nothing: `studies` yields all faults."""
        return []

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield all studies, and what could not be taken.

        Args:
            shards: without the empty name among them, nothing is read.

        Raises:
            UserError: the archive has no table of reports, or the table lacks a column.
        """
        if shards is None or "" in shards:
            yield from self._read()

    @abstractmethod
    def _read(self) -> Iterator[SourceStudy | SetAside]:
        """Read the archive."""
