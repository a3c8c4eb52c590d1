"""Base class of the sources that are not divided into shards."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator

from bimcvr.curation.study import SetAside, SourceStudy


class SingleShardSource(ABC):
    """A source whose data are not in several archive files: everything is one shard, named by the empty string."""

    def shards(self) -> list[str]:
        """Return the one empty name."""
        return [""]

    def faults(self) -> list[SetAside]:
        """Return nothing: `studies` yields all faults."""
        return []

    def release(self, shard: str) -> None:  # noqa: B027 (there is nothing to delete)
        """Delete nothing: the files are the user's own.

        Args:
            shard: the empty name.
        """

    def studies(self, shards: Collection[str] | None = None) -> Iterator[SourceStudy | SetAside]:
        """Yield all studies, and what is set aside.

        Args:
            shards: nothing is read unless the empty name is among them; None reads everything.

        Raises:
            UserError: there is no table of reports, or the table has no such column.
        """
        if shards is None or "" in shards:
            yield from self.read()

    @abstractmethod
    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies of the archive in a fixed order, and what is set aside."""
