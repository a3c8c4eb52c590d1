"""The files of the released BIMCV-R: ten shards of volumes, and the tables of `meta`."""

from pathlib import Path

import pandas as pd

from bimcvr.phantom.archive.packing import PackedFile
from bimcvr.phantom.archive.plan import ArchivePlan, ArchiveVolume
from bimcvr.phantom.archive.table_cells import COLUMNS, label_cells, plain

SHARDS = 10
# the authors' machine; whoever reads the tables has to join by base name
_ELSEWHERE = "/raid/phantom/data/BIMCV-COVID19-cIter_1_2"


def released_files(plan: ArchivePlan, files: dict[str, Path]) -> list[PackedFile]:
    """List the files of the layout.

    Args:
        plan: the archive.
        files: each entry's volume.
    """
    items: list[PackedFile] = []
    for number, entry in enumerate(plan.entries):
        shard = f"CT{number * SHARDS // len(plan.entries) + 1}"
        items.append((f"{shard}.zip", f"{shard}/ct/{entry.name}.nii.gz", files[entry.name]))
    table = pd.DataFrame([_row(plan, entry) for entry in plan.entries])
    curated = table[["ct_path", "Report_en"]].rename(columns={"ct_path": "path"})
    for name, content in (("BIMCV_meta.csv", table), ("curated_ct_report_path_En.csv", curated)):
        items.append(("meta_1.zip", f"meta/{name}", content.to_csv(index=False, lineterminator="\n").encode()))
    return items


def _row(plan: ArchivePlan, entry: ArchiveVolume) -> dict[str, str | float]:
    report = plan.reports[entry.session]
    cohort = f"{_ELSEWHERE}-Negative/covid19_neg" if entry.negative else f"{_ELSEWHERE}/covid19_posi"
    folder = f"{cohort}/{entry.subject}/{entry.session}/mod-rx"
    cells = {
        "PatientID": report.patient_id,
        "ReportID": report.report_id,
        "Report": plain(report.spanish),
        **label_cells(report),
    }
    return {
        **{name: cells[name] for name in COLUMNS},
        "num": float(len(report.facts)),
        "path": folder,
        "Report_en": report.english,
        "ct_path": f"{folder}/{entry.name}.nii.gz",
    }
