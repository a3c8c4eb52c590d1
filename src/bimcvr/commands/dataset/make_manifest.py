"""The verb `make-manifest`: a folder of volumes and a table of reports in, a manifest out."""

from collections.abc import Sequence
from pathlib import Path

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError


def make_manifest(
    folder: Path,
    reports: Path,
    out: Path = Path("manifest.csv"),
    id_column: str = "",
    report_columns: Sequence[str] | str = (),
    pattern: str = "",
) -> int:
    """Pair the volumes of a folder with a table of reports, and write a manifest.

    A volume belongs to the row whose id is its file's name (without .nii.gz and the like), or else the name of the
    nearest folder above it. All other columns of the table are taken along. What has no partner is listed in a file
    beside the manifest, with reasons; an id that several rows have is paired with nothing.

    Args:
        folder: the folder with the volumes, searched with its sub-folders: NIfTI, MetaImage and NRRD files, and
            folders of DICOM slices.
        reports: the table of the reports: CSV, TSV or .xlsx.
        out: where the result is written: the manifest, a CSV file.
        id_column: the table's column of ids; by default study_id, volume, filename, accession or the like.
        report_columns: the table's column of reports, or several (`[findings, impression]`), which are joined; by
            default report, text or findings.
        pattern: a regular expression whose first group, searched in a volume's path below the folder, is its id:
            `(CASE[0-9]+)`.

    Returns:
        0, or 3 where something was not paired.
    """
    import pandas as pd

    from bimcvr.atomic_files import require_writable
    from bimcvr.curation.sources.pairing import ID_COLUMNS, REPORT_COLUMNS, choose_column, pair
    from bimcvr.curation.sources.table_reader import read_table
    from bimcvr.data.manifest import read_manifest, write_manifest

    if not reports.is_file():
        raise UserError(f"There is no table {reports}. Give a CSV, TSV or .xlsx file with a row for each report.")
    if out.resolve() == reports.resolve():
        raise UserError(f"--out {out} is the table of the reports itself. Name another file.")
    require_writable(out.parent, "--out")
    table = read_table(reports)
    ids = choose_column(table, id_column, ID_COLUMNS, "--id_column")
    names = [report_columns] if isinstance(report_columns, str) else list(report_columns)
    texts = [choose_column(table, name, REPORT_COLUMNS, "--report_columns") for name in names or [""]]
    pairs = pair(folder, table, ids, texts, pattern, out.parent)
    listed = out.with_name(f"{out.stem}-unmatched.csv")
    unmatched = [(one.name, one.reason, one.message) for one in pairs.unmatched]
    if not pairs.rows:
        told = "; ".join(f"{item}: {message}" for item, _, message in unmatched[:3])
        raise UserError(f"No volume of {folder} has the id of a row of {reports} (column {ids}): {told}.")
    write_manifest(pd.DataFrame(pairs.rows).fillna(""), out)
    read_manifest(out)  # what a column of the table breaks is told now
    say(f"{out}: {len(pairs.rows)} volumes with reports, by the column {ids}; reports are {' and '.join(texts)}.")
    if unmatched:
        write_manifest(pd.DataFrame(unmatched, columns=["item", "reason", "message"]), listed)
        say(f"{len(unmatched)} without a partner are listed in {listed}:")
        say("\n".join(f"  {item}: {message}" for item, _, message in unmatched[:5]))
        return 3
    listed.unlink(missing_ok=True)
    return 0
