"""The second table of texts, `regions.csv`: what is said of each region of the body; one row a study and region."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bimcvr.curation.pipeline.row import CurationRow
from bimcvr.curation.pipeline.step_log import write_changed


def write_regions(rows: Sequence[CurationRow], path: Path) -> None:
    """Write the texts of regions in the order of the manifest; a table of an earlier run is removed if there are none.

    Args:
        rows: the manifest's rows, of any status.
        path: the CSV file, with the columns study_id, region and text.
    """
    lines = [(row.study_id, region, text) for row in rows for region, text in row.regions]
    if lines:
        table = pd.DataFrame(lines, columns=["study_id", "region", "text"])
        write_changed(path, table.to_csv(index=False, lineterminator="\n"))
    else:
        path.unlink(missing_ok=True)
