"""Merlin's abdominal CT dataset: `merlin_data/AC….nii.gz`, and `reports_final.xlsx` with reports and splits.

The column `Findings` holds findings and impression in one text. The dataset names no patients: a split of one's own can
put a patient into two splits, the dataset's own (`Split`) is made by its authors.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bimcvr.curation.archives.file_tree import files_below, volumes_by_name
from bimcvr.curation.archives.unread import unread_archives
from bimcvr.curation.sources.report_sections import split_report
from bimcvr.curation.sources.single_shard import SingleShardSource
from bimcvr.curation.sources.table_reader import read_table, rows_by_key
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

TABLE = "reports_final.xlsx"
_KEY, _REPORT, _SPLIT = "study id", "Findings", "Split"
_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


class Merlin(SingleShardSource):
    """Reads Merlin's dataset; the extra `xlsx` is needed.

    Args:
        root: the folder with `merlin_data` and the table.
        table: the path of the table, relative to `root`: .xlsx, or the same columns as CSV.
        sections: what becomes the report: `both`, or one of `findings` and `impression`. A report that cannot be
            divided is taken whole with `both`, else its study is set aside. The column `sections_by` names the rule.

    Raises:
        UserError: there is no such folder or table.
    """

    def __init__(
        self, root: str, table: str = TABLE, sections: Literal["both", "findings", "impression"] = "both"
    ) -> None:
        self.root = Path(root)
        self.table = self.root / table
        self.sections = sections
        if not self.root.is_dir():
            raise UserError(f"There is no folder {self.root}. Give Merlin's folder, the one with merlin_data in it.")
        if not self.table.is_file():
            raise UserError(f"There is no table {self.table}. Download {TABLE}, or name the table as `table`.")

    def read(self) -> Iterator[SourceStudy | SetAside]:
        """Yield the studies in the order of the table, then the volumes that it does not name."""
        files, set_aside = files_below(self.root)
        yield from set_aside
        yield from unread_archives(files, ())
        table = read_table(self.table, (_KEY, _REPORT, _SPLIT))
        yield from table.set_aside
        rows, set_aside = rows_by_key([table], _KEY)
        yield from set_aside
        volumes, set_aside = volumes_by_name(files, self.root)
        yield from set_aside
        for name, cells in rows.items():
            if name in volumes:
                yield from self._study(name, volumes[name], cells)
            else:
                message = f"{name} is in {self.table.name}, but its volume is not below {self.root}. Download it."
                yield SetAside(name, "missing_file", message)
        for name in sorted(volumes.keys() - rows.keys()):
            message = f"{volumes[name]} has no row in {self.table.name}, so it has no report."
            yield SetAside(name, "no_row", message)

    def _study(self, name: str, volume: Path, cells: dict[str, str]) -> Iterator[SourceStudy | SetAside]:
        text = present(cells[_REPORT])
        sections = split_report(text)
        if text and sections.rule == "none":
            taken = "The whole text was taken." if self.sections == "both" else f"It has no {self.sections} of its own."
            message = f"{name}: the report in {self.table.name} shows no boundary of findings and impression. {taken}"
            yield SetAside(name, "unsplit_report", message)
            if self.sections != "both":
                return
        texts = {"findings": sections.findings, "impression": sections.impression}
        chosen = texts.values() if self.sections == "both" else (texts[self.sections],)
        split = _SPLITS.get(cells[_SPLIT].strip().lower(), "")
        yield SourceStudy(
            study_id=name,
            volume=volume,
            report="\n".join(filter(None, chosen)),
            language="en",
            report_id=name,
            columns={"sections_by": sections.rule} | ({"archive_split": split} if split else {}),
        )
