"""Checks of a manifest's rows against each other: repeated volumes, shared reports, patients in two splits."""

from collections import defaultdict
from collections.abc import Mapping

from bimcvr.curation.audit.filename_ids import subjects
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.volume_facts import VolumeFacts
from bimcvr.data.manifest import Manifest


def check_cohort(manifest: Manifest, facts: Mapping[int, VolumeFacts]) -> list[Finding]:
    """Compare the rows of a manifest with each other.

    Args:
        manifest: the dataset; its `split` column is used as it is.
        facts: the facts of each row's volume, where it could be read.
    """
    return [*duplicate_volumes(manifest, facts), *shared_report_ids(manifest), *patients_in_two_splits(manifest)]


def duplicate_volumes(manifest: Manifest, facts: Mapping[int, VolumeFacts]) -> list[Finding]:
    """Find volumes with the same voxels, whatever their headers say.

    If all copies belong to one patient, the first is not flagged. If they belong to different patients, it is unknown
    whose the volume is, and all are flagged.

    Args:
        manifest: the dataset.
        facts: the facts of each row's volume, where it could be read.
    """
    ids, patients = manifest.column("study_id"), subjects(manifest)
    same = defaultdict(list)
    for row in sorted(facts):
        same[facts[row].content].append(row)
    findings = []
    for rows in same.values():
        owners = {patients[row] for row in rows}
        for row in rows[0 if len(owners) > 1 else 1 :]:
            others = [peer for peer in rows if peer != row]
            if others:
                patients_text = f", {len(owners)} patients" if len(owners) > 1 else ""
                findings.append(
                    Finding(
                        ids[row],
                        "duplicate_volume",
                        f"the same voxels as {ids[others[0]]} ({len(rows)} rows{patients_text})",
                    )
                )
    return findings


def shared_report_ids(manifest: Manifest) -> list[Finding]:
    """Find report ids that several patients have."""
    ids, reports = manifest.column("study_id"), manifest.column("report_id")
    owners = defaultdict(set)
    for patient, report in zip(subjects(manifest), reports, strict=True):
        if patient and report:
            owners[report].add(patient)
    return [
        Finding(study, "duplicate_report", f"{len(owners[report])} patients have the report id {report}")
        for study, report in zip(ids, reports, strict=True)
        if len(owners[report]) > 1
    ]


def patients_in_two_splits(manifest: Manifest) -> list[Finding]:
    """Find patients with rows in more than one of train, val and test."""
    ids, patients, splits = (manifest.column(name) for name in ("study_id", "patient_id", "split"))
    splits_of = defaultdict(set)
    for patient, split in zip(patients, splits, strict=True):
        if patient and split:
            splits_of[patient].add(split)
    return [
        Finding(study, "patient_in_two_splits", f"{patient} is in {' and '.join(sorted(splits_of[patient]))}")
        for study, patient, split in zip(ids, patients, splits, strict=True)
        if split and len(splits_of[patient]) > 1
    ]
