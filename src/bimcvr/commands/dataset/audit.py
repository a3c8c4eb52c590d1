"""The command `audit`: all checks on all rows of a manifest, with flags, evidence and an HTML page."""

import os
from pathlib import Path
from typing import Literal

from bimcvr.atomic_files import require_writable
from bimcvr.commands.stdout import say
from bimcvr.data.manifest import Manifest


def audit(
    manifest: Path,
    out: Path | None = None,
    root: Path | None = None,
    split: Literal["train", "val", "test", "all"] = "all",
    jobs: int = -1,
    facts: Path | None = None,
    nifti_form: Literal["auto", "sform", "qform"] = "auto",
    max_voxels: int = 2**31,
) -> int:
    """Check every row of a manifest and report what is wrong with it.

    Writes `findings.csv` (study_id, flag, evidence), `manifest.csv` (the same rows with `flags` and geometry filled in;
    no row is removed and no status changed) and `audit.html` (an HTML page that shows reports and slices of volumes).
    The command can be stopped and started again at any time: each volume is read once.

    Args:
        manifest: the manifest, a CSV file.
        out: where the result is written: a folder, `audit` beside the manifest by default.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        split: the split whose rows are used, here for the noise ceiling alone; everything else is about all rows.
        jobs: parallel processes; -1 for one per CPU core.
        facts: the folder of measurements of the volumes; `facts` beside the manifest by default.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one.
        max_voxels: larger volumes are refused.

    Returns:
        0, or 3 when volumes could not be read.
    """
    from bimcvr.curation.audit.audit import audit_manifest
    from bimcvr.curation.audit.output.page import write_audit_page
    from bimcvr.curation.audit.output.summary import noise_ceilings, summary_text
    from bimcvr.data.evaluation_rows import split_rows
    from bimcvr.data.manifest import read_manifest, write_manifest
    from bimcvr.data.reading.grid import GridRules

    table = read_manifest(manifest, root)
    folder, facts_folder = out or table.path.parent / "audit", facts or table.path.parent / "facts"
    split_rows(table, split)  # report an impossible split before hours of reading
    require_writable(folder, "--out")
    result = audit_manifest(table, facts_folder, jobs, GridRules(nifti_form, max_voxels))
    audited = result.audited()
    ceilings = noise_ceilings(result, split)
    write_manifest(result.findings_table(), folder / "findings.csv")
    write_manifest(audited.table.assign(volume=_paths_from(folder, table)), folder / "manifest.csv")
    write_audit_page(folder / "audit.html", result, ceilings, facts_folder)
    say(summary_text(result, ceilings))
    say(f"\n{folder}: findings.csv, manifest.csv, audit.html")
    return 3 if result.unread() else 0


def _paths_from(folder: Path, manifest: Manifest) -> list[str]:
    """Return the `volume` column for a manifest in another folder."""
    start, root = folder.resolve(), manifest.root.resolve()
    return [
        volume if Path(volume).is_absolute() else Path(os.path.relpath(root / volume, start)).as_posix()
        for volume in manifest.column("volume")
    ]
