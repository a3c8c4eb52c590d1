"""Your own data: a table with the columns study_id, volume and report, and any others of the manifest."""

from collections.abc import Iterator
from pathlib import Path

from bimcvr.curation.archives.file_tree import is_inside
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.sources.table_reader import read_table
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.manifest import split_list
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

REQUIRED = ("study_id", "volume", "report")
_KNOWN = (*REQUIRED, "language", "patient_id", "report_id", "shard", "labels", "translation")


class CsvTable(SingleShardSource):
    """Reads a CSV, TSV or .xlsx file with one row for each volume.

    Args:
        table: the file, with the columns study_id, volume and report. The columns language, patient_id, report_id,
            shard, labels (`;`-separated) and translation have the meaning they have in a manifest; all others become
            further columns.
        root: the folder that `volume` is relative to; the table's folder if empty.

    Raises:
        UserError: there is no such file.
    """

    def __init__(self, table: str, root: str = "") -> None:
        self.table = Path(table)
        self.root = Path(root) if root else self.table.parent
        if not self.table.is_file():
            raise UserError(f"There is no table {self.table}. Give a CSV file with the columns {', '.join(REQUIRED)}.")

    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies in the order of the table."""
        table = read_table(self.table, REQUIRED)
        yield from table.set_aside
        seen: dict[str, int] = {}
        for line, cells in table.rows:
            yield self._study(line, cells, seen)

    def _study(self, line: int, cells: dict[str, str], seen: dict[str, int]) -> SourceStudy | SetAside:
        study_id, location = present(cells["study_id"]), f"{self.table.name}: line {line}"
        volume = self.root / cells["volume"].strip()
        if not study_id or not present(cells["volume"]):
            return SetAside(location, "unreadable_row", f"{location} has no study_id or no volume. Fill it in.")
        if study_id in seen:
            return SetAside(
                location, "duplicate_row", f"{location}: the study_id {study_id} is already in line {seen[study_id]}."
            )
        if not is_inside(volume, self.root):
            return SetAside(
                study_id, "outside_root", f"{location} names {volume}, which is outside the root {self.root}."
            )
        if not volume.exists():
            return SetAside(
                study_id, "missing_file", f"{location} names {volume}, which does not exist. Correct it, or set `root`."
            )
        seen[study_id] = line
        return SourceStudy(
            study_id=study_id,
            volume=volume,
            report=cells["report"].strip(),
            language=cells.get("language", "").strip(),
            patient_id=present(cells.get("patient_id", "")),
            report_id=present(cells.get("report_id", "")),
            shard=cells.get("shard", "").strip(),
            labels=tuple(sorted(split_list(present(cells.get("labels", ""))))),
            translation=cells.get("translation", "").strip(),
            columns={name: cell.strip() for name, cell in cells.items() if name not in _KNOWN and cell.strip()},
        )
