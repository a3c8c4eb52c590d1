"""The verb `phantom`: a cohort of synthetic chest CTs with reports, on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimcvr.commands.stdout import say

if TYPE_CHECKING:
    from bimcvr.data.manifest import Manifest


def phantom(
    out: Path,
    patients: int = 400,
    seed: int = 0,
    preview: bool = False,
    jobs: int = -1,
    archive: Literal["none", "folders", "shards"] = "none",
    masks: bool = False,
) -> int:
    """Make a cohort of synthetic chest CTs with reports, to try everything on without patient data.

    It writes `volumes/<patient>/<study>.nii.gz` (int16 HU) and `manifest.csv`. The same seed gives the same
    cohort; more patients leave the earlier ones as they are, and what already lies there is not made again.
    The manifest's column `places` says where each finding is, in mm.
    At the end it prints the test split's ceiling: the figures of an oracle that knows the findings as the
    reports state them.

    Args:
        out: where the result is written: a folder.
        patients: how many patients the phantom cohort has; about 8 % have two studies, and 6 % of the studies have
            two volumes.
        seed: the seed of random numbers; another seed gives another cohort.
        preview: also draw `preview.png`, a sheet of eight studies.
        jobs: parallel processes; -1 for one per CPU core.
        archive: also write the cohort as raw archives with the faults of real ones: `bimcv_r` (the released BIMCV-R)
            and `bimcv_covid19` (raw BIMCV-COVID19+), unpacked in folders or packed in shards, each with a ledger of
            what was planted.
        masks: also write the voxels of every finding, one file of numbers for each volume in `masks/`.

    Returns:
        The exit code, 0.

    Raises:
        UserError: a number is out of range, or the folder holds another cohort.
    """
    from bimcvr.data.manifest import read_manifest, write_manifest
    from bimcvr.errors import UserError
    from bimcvr.phantom.cohort.studies import manifest_table, plan_patient
    from bimcvr.phantom.cohort.volumes import claim_folder, make_volumes

    if patients < 1:
        raise UserError(f"--patients {patients}: a cohort needs at least one patient.")
    if seed < 0:
        raise UserError(f"--seed {seed}: a seed is zero or a positive whole number.")
    out = Path(out)
    claim_folder(out, seed)
    studies = [study for patient in range(patients) for study in plan_patient(seed, patient)]
    scans = [scan for study in studies for scan in study.scans()]
    table = manifest_table(studies)
    table["places"] = make_volumes(out, dict(zip(table["volume"], scans, strict=True)), jobs, masks)
    write_manifest(table, out / "manifest.csv")
    manifest = read_manifest(out / "manifest.csv")
    say(f"{out / 'manifest.csv'}: {patients} patients, {len(studies)} studies, {len(scans)} volumes, all synthetic.")
    _print_ceiling(manifest)
    if archive != "none":
        from bimcvr.phantom.archive.write import LAYOUTS, write_archives

        count, faulty = write_archives(out, studies, seed, archive, jobs)
        say(
            f"{' and '.join(str(out / layout) for layout in LAYOUTS)}: {count} volumes, {faulty} of them with a planted"
            " fault; their ledgers list them."
        )
    if preview:
        from bimcvr.phantom.cohort.sheet import draw_sheet

        draw_sheet(manifest, out / "preview.png")
        say(f"Picture sheet: {out / 'preview.png'}")
    return 0


def _print_ceiling(manifest: "Manifest") -> None:
    from bimcvr.data.splits import assign_splits
    from bimcvr.phantom.oracle import report_ceiling

    rows = assign_splits(manifest, "patient_hash").rows("test")
    if len(rows) < 2:
        say("Ceiling: the test split (by patient_hash) has fewer than two volumes; make more patients.")
        return
    say(
        f"Ceiling of the test split (patient_hash, {len(rows)} volumes): an oracle that knows the findings "
        "as the reports state them; `test` prints that of the rows it scores"
    )
    for direction, figures in report_ceiling(manifest, rows).items():
        say(f"  {direction:14} " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
