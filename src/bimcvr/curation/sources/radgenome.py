"""RadGenome-ChestCT: the sentences of CT-RATE's reports, each with the region of the body that it is about.

`radgenome_files/train_region_report.csv` and `validation_region_report.csv` have one row for each sentence, with
CT-RATE's names of volumes. They do not replace the reports: they are a second table of texts beside them.
"""

from pathlib import Path

from bimcvr.curation.archives.file_tree import files_below, is_volume, stem_of
from bimcvr.curation.sources.table_reader import SourceTable, read_table
from bimcvr.curation.study import SetAside
from bimcvr.data.text_table import present
from bimcvr.errors import UserError

COLUMNS = ("Volumename", "Anatomy", "Sentence")
_TABLE = "region_report.csv"
Regions = tuple[tuple[str, str], ...]


def read_regions(folder: Path) -> tuple[dict[str, Regions], list[SetAside]]:
    """Read the tables of sentences.

    Args:
        folder: RadGenome-ChestCT's folder; its other files are not read.

    Returns:
        For each volume, by its name without suffix, the regions in the order of the table, each with its sentences
        joined by blanks; a sentence that stands twice is taken once. And what was set aside.

    Raises:
        UserError: there is no such folder, no such table in it, or a column is missing.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give RadGenome-ChestCT's folder as `regions`, or leave it out.")
    files, set_aside = files_below(folder)
    tables = [read_table(file, COLUMNS) for file in files if file.name.endswith(_TABLE)]
    if not tables:
        raise UserError(f"{folder} has no table train_{_TABLE} or validation_{_TABLE}. Download RadGenome-ChestCT's.")
    sentences: dict[str, dict[str, dict[str, None]]] = {}
    for table in tables:
        set_aside += table.set_aside
        set_aside += _collect(table, sentences)
    regions = {
        volume: tuple((region, " ".join(texts)) for region, texts in by_region.items())
        for volume, by_region in sentences.items()
    }
    return regions, set_aside


def _collect(table: SourceTable, sentences: dict[str, dict[str, dict[str, None]]]) -> list[SetAside]:
    """Add a table's sentences by volume and region; rows that lack a part are counted."""
    incomplete = []
    for line, cells in table.rows:
        volume, region, sentence = (present(cells[column]) for column in COLUMNS)
        if volume and region and sentence:
            name = stem_of(volume) if is_volume(volume) else volume
            sentences.setdefault(name, {}).setdefault(region.lower(), {})[sentence] = None
        else:
            incomplete.append(line)
    if not incomplete:
        return []
    message = (
        f"{table.path}: {len(incomplete)} rows, the first in line {incomplete[0]}, lack one of {', '.join(COLUMNS)};"
        " they are about no region and were left out."
    )
    return [SetAside(table.path.name, "no_region", message)]
