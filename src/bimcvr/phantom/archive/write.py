"""Write a cohort as raw archives, BIMCV-R and BIMCV-COVID19+, with the faults of the real ones and a ledger of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from bimcvr.atomic_files import replacing
from bimcvr.parallel import in_parallel
from bimcvr.phantom.archive.defects import DEFECTS, turn
from bimcvr.phantom.archive.nifti_file import read_nifti, write_nifti
from bimcvr.phantom.archive.packing import write_layout
from bimcvr.phantom.archive.plan import ArchivePlan, ArchiveVolume, plan_archive
from bimcvr.phantom.archive.raw_layout import raw_files
from bimcvr.phantom.archive.released_layout import released_files
from bimcvr.phantom.cohort.studies import PhantomStudy
from bimcvr.phantom.reports.findings import to_json
from bimcvr.phantom.reports.vocabulary import LABELS

Packing = Literal["folders", "shards"]
LAYOUTS = ("bimcv_r", "bimcv_covid19")


def write_archives(
    directory: Path, studies: list[PhantomStudy], seed: int, packing: Packing, jobs: int
) -> tuple[int, int]:
    """Write both layouts of a finished cohort.

    Beside the folder of each layout it writes `<layout>.ledger.csv` (study_id, flag, detail: what was planted) and
    `<layout>.truth.csv` (what each volume and its report really are, and what is personal in it). Existing files are
    replaced.

    Args:
        directory: the cohort's folder.
        studies: the cohort, its volumes written.
        seed: the cohort's seed.
        packing: `folders` (hard links, which need no space) or `shards` (zip and tar files, as downloaded).
        jobs: processes to use; -1 for one a core.

    Returns:
        How many volumes the archives hold, and how many of them have a planted fault.
    """
    volumes = {
        scan.study_id: directory / "volumes" / study.patient_id / f"{scan.study_id}.nii.gz"
        for study in studies
        for scan in study.scans()
    }
    plan = plan_archive(studies, volumes, seed)
    staging = directory / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        files = _spoilt_volumes(plan, staging, seed, jobs)
        for layout, make in zip(LAYOUTS, (released_files, raw_files), strict=True):
            shutil.rmtree(directory / layout, ignore_errors=True)
            write_layout(directory / layout, make(plan, files), packing)
            ledger = plan.ledger + (plan.released_only if layout == "bimcv_r" else [])
            table = pd.DataFrame(sorted(ledger), columns=["study_id", "flag", "detail"])
            _write(table, directory / f"{layout}.ledger.csv")
            _write(pd.DataFrame(list(_truth(plan))), directory / f"{layout}.truth.csv")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(plan.entries), len({name for name, _, _ in plan.ledger})


def _spoilt_volumes(plan: ArchivePlan, staging: Path, seed: int, jobs: int) -> dict[str, Path]:
    """Write the volumes with a fault, add what was done to the ledger, and return the file of each volume."""
    files = {entry.name: entry.source for entry in plan.entries}
    wanted = []
    for entry in plan.entries:
        fault = plan.spoilt.get(entry.name)
        if isinstance(fault, ArchiveVolume):
            files[entry.name] = fault.source
        elif fault is not None:
            files[entry.name] = staging / f"{entry.name}.nii.gz"
            wanted.append((entry, fault))
    details = in_parallel(_spoil, ((entry, fault, files[entry.name], seed) for entry, fault in wanted), jobs)
    plan.ledger += [
        (entry.name, DEFECTS[fault].flag, detail)
        for (entry, fault), detail in zip(wanted, details, strict=True)
        if isinstance(fault, int)
    ]
    return files


def _spoil(entry: ArchiveVolume, fault: int | str, target: Path, seed: int) -> str:
    if isinstance(fault, str):
        write_nifti(turn(read_nifti(entry.source), fault), target)
        return fault
    rng = np.random.default_rng([seed, entry.study.patient, entry.study.session, fault, 31])
    return DEFECTS[fault].spoil(entry.source, target, rng)


def _truth(plan: ArchivePlan) -> Iterator[dict[str, str]]:
    for entry in plan.entries:
        report = plan.reports[entry.session]
        yield {
            "study_id": entry.name,
            "phantom_study": entry.scan_id,
            "cohort": "negative" if entry.negative else "positive",
            "volume_labels": ";".join(
                dict.fromkeys(LABELS.get(finding.finding, finding.finding) for finding in entry.study.findings)
            ),
            "report_facts": to_json(report.facts),
            "report_spanish": report.spanish,
            "report_english": report.english,
            "personal": ";".join(f"{kind}={text}" for kind, text in report.person),
        }


def _write(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
