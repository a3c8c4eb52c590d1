"""Records on disk of what each shard of an archive held, so that a shard can be deleted and a run resumed."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from bimcvr.curation.pipeline.ingest import IngestedStudy
from bimcvr.curation.pipeline.step_log import write_changed
from bimcvr.curation.study import SetAside

Item = IngestedStudy | SetAside


@dataclass(frozen=True)
class ShardRecords:
    """A folder with one JSON-lines file a shard.

    Attributes:
        folder: the folder. It holds the reports as the archive has them, so it is as private as the archive.
    """

    folder: Path

    def write(self, shard: str, items: Iterable[Item], identity: str = "") -> None:
        """Record what a shard held.

        Args:
            shard: the name of the shard.
            items: its studies, and what was set aside.
            identity: text that identifies the shard's files and the settings, once the shard has been released; empty
                before.
        """
        lines: list[dict[str, Any]] = [{"shard": shard, "identity": identity}]
        lines += [
            {"ingested": item.to_json()} if isinstance(item, IngestedStudy) else {"set_aside": asdict(item)}
            for item in items
        ]
        write_changed(self._path(shard), "".join(json.dumps(line) + "\n" for line in lines))

    def identity(self, shard: str) -> str:
        """Return the identity recorded with a shard; empty if the shard was not completed."""
        path = self._path(shard)
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8") as stream:
            return str(json.loads(stream.readline())["identity"])

    def items(self) -> list[Item]:
        """Return what all recorded shards held, also those deleted since, in the order of their names."""
        contents = (self._path(shard).read_text(encoding="utf-8").splitlines()[1:] for shard in self.shards())
        return [_item(json.loads(line)) for lines in contents for line in lines]

    def shards(self) -> list[str]:
        """Return the names of the recorded shards."""
        names = (unquote(path.stem.removeprefix("shard-")) for path in self.folder.glob("shard-*.jsonl"))
        return sorted(names, key=shard_order)

    def faults(self, current: Iterable[SetAside]) -> list[SetAside]:
        """Return the source's faults without those that only exist because a shard was deleted.

        A volume that was ingested and then deleted counts as missing from now on. Such a fault is replaced by what was
        recorded for the same row before the deletion, if anything.

        Args:
            current: the faults that the source reports now.
        """
        path = self.folder / "faults.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        earlier = {item.name: item for item in (SetAside(**json.loads(line)) for line in lines)}
        ingested = {item.study.volume.name for item in self.items() if isinstance(item, IngestedStudy)}
        faults = []
        for fault in current:
            words = {word.strip(",.;") for word in fault.message.split()}
            if fault.reason != "missing_file" or not ingested & words:
                faults.append(fault)
            elif fault.name in earlier and earlier[fault.name].reason != "missing_file":
                faults.append(earlier[fault.name])
        write_changed(path, "".join(json.dumps(asdict(fault)) + "\n" for fault in faults))
        return faults

    def _path(self, shard: str) -> Path:
        return self.folder / f"shard-{quote(shard, safe='')}.jsonl"


def shard_order(shard: str) -> tuple[int, str]:
    """Return the sort key of a shard's name: `CT2` before `CT10`."""
    return len(shard), shard


def _item(line: dict[str, Any]) -> Item:
    return IngestedStudy.from_json(line["ingested"]) if "ingested" in line else SetAside(**line["set_aside"])
