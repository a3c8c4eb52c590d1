"""What the sources share that are read in one piece."""

from bimcvr.curation.study import SetAside


class Unsharded:
    """An archive that is no set of archive files: all of it is one shard, named by the empty string."""

    def shards(self) -> list[str]:
        """Return the one empty name."""
        return [""]

    def faults(self) -> list[SetAside]:
        """Return nothing: `studies` yields all faults."""
        return []
