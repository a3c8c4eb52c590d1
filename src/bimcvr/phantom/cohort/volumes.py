"""The verb `phantom`: a cohort of synthetic chest CTs with reports, on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bimcvr.data.manifest import Manifest
    from bimcvr.phantom.image.acquisition import Scan

# counts up whenever the same seed would give other volumes or reports
RECIPE = 3


def phantom(directory: Path, patients: int = 400, seed: int = 0, preview: bool = False,
            jobs: int = -1, archive: Literal["none", "folders", "shards"] = "none") -> int:
    """Make a cohort of synthetic chest CTs with reports, to try everything on without patient data.

    It writes `volumes/<patient>/<study>.nii.gz` (int16 HU) and `manifest.csv`. The same seed gives the same
    cohort; more patients leave the earlier ones as they are, and what already lies there is not made again.
    At the end it prints the test split's ceiling: the figures of an oracle that knows the findings as the
    reports state them.

    Args:
        directory: the folder to write to.
        patients: how many patients; about 8 % have two studies, and 6 % of the studies two volumes.
        seed: another seed gives another cohort.
        preview: also draw `preview.png`, a sheet of eight studies.
        jobs: how many processes; -1 for one a core.
        archive: also write the cohort as raw archives with the faults of real ones: `bimcv_r` (the released BIMCV-R) and
            `bimcv_covid19` (raw BIMCV-COVID19+), unpacked in folders or packed in shards, each with a ledger of what was planted.

    Returns:
        The exit code, 0.

    Raises:
        UserError: a number is out of range, or the folder holds another cohort.
    """
    from bimcvr.data.manifest import read_manifest, write_manifest
    from bimcvr.errors import UserError
    from bimcvr.phantom.cohort.studies import manifest_table, plan_patient

    if patients < 1:
        raise UserError(f"--patients {patients}: a cohort needs at least one patient.")
    if seed < 0:
        raise UserError(f"--seed {seed}: a seed is zero or a positive whole number.")
    directory = Path(directory)
    _claim(directory, seed)
    studies = [study for patient in range(patients) for study in plan_patient(seed, patient)]
    scans = [scan for study in studies for scan in study.scans()]
    table = manifest_table(studies)
    _make_all(dict(zip((directory / name for name in table["volume"]), scans, strict=True)), jobs)
    write_manifest(table, directory / "manifest.csv")
    manifest = read_manifest(directory / "manifest.csv")
    print(f"{directory / 'manifest.csv'}: {patients} patients, {len(studies)} studies, {len(scans)} volumes, "
          "all synthetic.")
    _print_ceiling(manifest)
    if archive != "none":
        from bimcvr.phantom.archive.write import write_archives

        write_archives(directory, studies, seed, archive, jobs)
    if preview:
        from bimcvr.phantom.cohort.sheet import draw_sheet

        draw_sheet(manifest, directory / "preview.png")
        print(f"Picture sheet: {directory / 'preview.png'}")
    return 0


def _claim(directory: Path, seed: int) -> None:
    """Note the cohort's seed in its folder, so that volumes of two cohorts never mix."""
    import json

    from bimcvr.atomic_files import write_json
    from bimcvr.errors import UserError

    note, mine = directory / "phantom.json", {"seed": seed, "recipe": RECIPE}
    if note.is_file():
        theirs = json.loads(note.read_text(encoding="utf-8"))
        if theirs != mine:
            raise UserError(f"{directory} holds another phantom cohort (seed {theirs.get('seed')}, recipe "
                            f"{theirs.get('recipe')}; wanted: seed {seed}, recipe {RECIPE}). Choose another "
                            "folder, or delete that one.")
    elif (directory / "manifest.csv").exists():
        raise UserError(f"{directory} has a manifest.csv that is no phantom's. Choose another folder.")
    write_json(note, mine)


def _make_all(wanted: "dict[Path, Scan]", jobs: int) -> None:
    """Write the volumes that are not there yet, in parallel, under a progress bar."""
    from rich.progress import track

    lacking = [(path, scan) for path, scan in wanted.items() if not path.is_file()]
    if lacking:
        for _ in track(_parallel(lacking, jobs), description="Phantom volumes", total=len(lacking)):
            pass


def _parallel(work: "list[tuple[Path, Scan]]", jobs: int) -> Iterator[Any]:
    from joblib import Parallel, delayed

    results: Iterator[Any] = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=8)(
        delayed(_make)(path, scan) for path, scan in work)
    return results


def _make(path: Path, scan: "Scan") -> None:
    from bimcvr.phantom.image.acquisition import make_volume, write_volume

    write_volume(make_volume(scan), path)


def _print_ceiling(manifest: "Manifest") -> None:
    from bimcvr.data.splits import assign_splits
    from bimcvr.phantom.oracle import report_ceiling

    rows = assign_splits(manifest, "patient_hash").rows("test")
    if len(rows) < 2:
        print("Ceiling: the test split (by patient_hash) has fewer than two volumes; make more patients.")
        return
    print(f"Ceiling of the test split (patient_hash, {len(rows)} volumes): an oracle that knows the findings "
          "as the reports state them")
    for direction, figures in report_ceiling(manifest, rows).items():
        print(f"  {direction:14} " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
