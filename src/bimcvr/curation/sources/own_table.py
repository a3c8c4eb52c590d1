"""One's own data: a table with the columns study_id, volume and report, and any others that a manifest knows."""

from collections.abc import Iterator
from pathlib import Path

from bimcvr.curation.archives.file_tree import is_inside
from bimcvr.curation.sources.base import Unsharded
from bimcvr.curation.sources.csv_tables import read_table
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.manifest import split_list
from bimcvr.errors import UserError

REQUIRED = ("study_id", "volume", "report")
_KNOWN = (*REQUIRED, "language", "patient_id", "report_id", "shard", "labels", "translation")


class ThreeColumnTable(Unsharded):
    """Reads a CSV or TSV file with one row a volume.

    Args:
        table: the file. Columns beyond study_id, volume, report: language, patient_id, report_id, shard, labels
            (`;`-separated) and translation are taken as such, all others as further columns.
        root: the folder that `volume` is relative to; the table's own if empty.
    """

    def __init__(self, table: str, root: str = "") -> None:
        self.table = Path(table)
        self.root = Path(root) if root else self.table.parent
        if not self.table.is_file():
            raise UserError(f"There is no table {self.table}. Give a CSV file with the columns {', '.join(REQUIRED)}.")

    def _read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies in the table's order."""
        table = read_table(self.table, REQUIRED)
        yield from table.aside
        seen: dict[str, int] = {}
        for line, cells in table.rows:
            yield self._study(line, cells, seen)

    def _study(self, line: int, cells: dict[str, str], seen: dict[str, int]) -> SourceStudy | SetAside:
        study_id, here = cells["study_id"].strip(), f"{self.table.name}: line {line}"
        volume = self.root / cells["volume"].strip()
        if not study_id or not cells["volume"].strip():
            return SetAside(here, "unreadable_row", f"{here} has no study_id or no volume. Fill it in.")
        if study_id in seen:
            return SetAside(
                here, "duplicate_row", f"{here}: the study_id {study_id} stands in line {seen[study_id]} already."
            )
        if not is_inside(volume, self.root):
            return SetAside(study_id, "outside_root", f"{here} names {volume}, which is outside the root {self.root}.")
        if not volume.exists():
            return SetAside(
                study_id, "missing_file", f"{here} names {volume}, which is not there. Correct it, or name `root`."
            )
        seen[study_id] = line
        return SourceStudy(
            study_id=study_id,
            volume=volume,
            report=cells["report"].strip(),
            language=cells.get("language", "").strip(),
            patient_id=cells.get("patient_id", "").strip(),
            report_id=cells.get("report_id", "").strip(),
            shard=cells.get("shard", "").strip(),
            labels=tuple(sorted(split_list(cells.get("labels", "")))),
            translation=cells.get("translation", "").strip(),
            columns={name: cell.strip() for name, cell in cells.items() if name not in _KNOWN and cell.strip()},
        )
