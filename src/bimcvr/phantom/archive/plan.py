"""The plan of an archive: name, report and fault of each volume, drawn from the seed; nothing is written yet."""

import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bimcvr.phantom.archive.defects import DEFECTS, DUPLICATE, DUPLICATE_SHARE, ROTATED_SHARE, ROTATION
from bimcvr.phantom.cohort.studies import PhantomStudy
from bimcvr.phantom.reports.english_report import write_english
from bimcvr.phantom.reports.findings import PlantedFinding, Rng, draw_findings
from bimcvr.phantom.reports.personal import invent_person
from bimcvr.phantom.reports.spanish_report import XRAY, XRAY_FINDINGS, write_spanish

# shares of volumes, as counted in 1,628 rows of BIMCV-R: placeholders, the Negative cohort, and within that reports
# that stand in the positive cohort too and reports that never mention CT; two of 1,628 had under five words
PLACEHOLDER_SHARE, NEGATIVE_SHARE, BORROWED_SHARE, XRAY_SHARE, SHORT_SHARE = 0.079, 0.173, 0.41, 0.557, 0.0012
# not counted anywhere: chosen
UNTRANSLATED_SHARE, PERSONAL_SHARE = 0.01, 0.25
PLACEHOLDER = "Something wrong with the data! #################"
ROTATIONS = ("type_1", "type_2", "type_3", "type_4", "type_5")


@dataclass(frozen=True)
class ArchiveReport:
    """The report of a session as the archive has it.

    Attributes:
        patient_id: the patient, according to the table.
        report_id: the session, according to the released table.
        spanish: as it was written.
        english: the archive's translation.
        facts: what it states.
        person: (kind, text) of what is personal in it.
    """

    patient_id: str
    report_id: str
    spanish: str
    english: str
    facts: tuple[PlantedFinding, ...]
    person: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ArchiveVolume:
    """One volume of the archive.

    Attributes:
        name: the file's name without suffix, and the study's in the ledger.
        subject: `sub-S…`, as in the file name.
        session: `ses-E…`, as in the file name.
        negative: whether it is of the negative cohort.
        study: the phantom study.
        scan_id: the phantom's own name of the volume.
        source: the sound volume.
    """

    name: str
    subject: str
    session: str
    negative: bool
    study: PhantomStudy
    scan_id: str
    source: Path


@dataclass
class ArchivePlan:
    """An archive to be written.

    Attributes:
        entries: the volumes, in order.
        reports: by session.
        spoilt: by entry name, the index into `DEFECTS`, a rotation's type, or the entry whose volume is copied.
        ledger: (study, flag, detail) that holds in both layouts; volumes' faults are added as they are written.
        released_only: the same, in the released layout only.
    """

    entries: list[ArchiveVolume]
    reports: dict[str, ArchiveReport]
    spoilt: dict[str, int | str | ArchiveVolume] = field(default_factory=dict)
    ledger: list[tuple[str, str, str]] = field(default_factory=list)
    released_only: list[tuple[str, str, str]] = field(default_factory=list)


def plan_archive(studies: list[PhantomStudy], volumes: dict[str, Path], seed: int) -> ArchivePlan:
    """Plan an archive of a cohort.

    Args:
        studies: the cohort.
        volumes: the volumes by scan.
        seed: the cohort's seed.
    """
    rng = np.random.default_rng([seed, len(volumes), 23])
    negative = _negative_patients(studies, rng)
    entries = [
        entry
        for number, study in enumerate(studies)
        for entry in _entries(number, study, study.patient in negative, volumes)
    ]
    entries = _with_acquisitions(entries)
    plan = ArchivePlan(entries, {})
    _spoil_volumes(plan, rng)
    original = {entry.session: _original_report(entry) for entry in entries}
    _lend_reports(plan, original, rng)
    _spoil_translations(plan, rng)
    return plan


def _negative_patients(studies: list[PhantomStudy], rng: Rng) -> set[int]:
    wanted = NEGATIVE_SHARE * sum(study.runs for study in studies)
    runs: dict[int, int] = defaultdict(int)
    for study in studies:
        runs[study.patient] += study.runs
    chosen: set[int] = set()
    for patient in rng.permutation(sorted(runs)).tolist():
        if wanted < 0.5:
            break
        chosen.add(patient)
        wanted -= runs[patient]
    return chosen


def _entries(number: int, study: PhantomStudy, negative: bool, volumes: dict[str, Path]) -> list[ArchiveVolume]:
    subject, session = f"sub-S{3000 + study.patient:05d}", f"ses-E{6000 + number:05d}"
    return [
        ArchiveVolume(
            f"{subject}_{session}_run-{run}_bp-chest_ct",
            subject,
            session,
            negative,
            study,
            scan.study_id,
            volumes[scan.study_id],
        )
        for run, scan in enumerate(study.scans(), 1)
    ]


def _with_acquisitions(entries: list[ArchiveVolume]) -> list[ArchiveVolume]:
    """Name the two volumes of a session `acq-1_run-1` and `acq-2_run-1`, as most of the archive's are."""
    twice = {entry.session for entry in entries if "_run-2_" in entry.name}
    return [
        (
            dataclasses.replace(
                entry, name=entry.name.replace("_run-1_", "_acq-1_run-1_").replace("_run-2_", "_acq-2_run-1_")
            )
            if entry.session in twice
            else entry
        )
        for entry in entries
    ]


def _spoil_volumes(plan: ArchivePlan, rng: Rng) -> None:
    """Assign the faults: at most one for each volume, each at least once if there are 100 volumes."""
    count = len(plan.entries)
    order = [plan.entries[i] for i in rng.permutation(count)]
    # inconsistent geometry was found in second acquisitions, almost without exception
    order.sort(key=lambda entry: "acq-2" in entry.name)
    for index in sorted(range(len(DEFECTS)), key=lambda index: DEFECTS[index].flag != "field_of_view"):
        for _ in range(_quota(DEFECTS[index].share, count)):
            plan.spoilt[order.pop().name] = index
    for number in range(_quota(ROTATED_SHARE, count)):
        plan.spoilt[order.pop().name] = ROTATIONS[number % len(ROTATIONS)]
    for _ in range(_quota(DUPLICATE_SHARE, count)):
        copy = order.pop()
        other = next((entry for entry in order if entry.subject != copy.subject), None)
        if other is not None:
            order.remove(other)
            plan.spoilt[copy.name] = other
            plan.ledger += [
                (copy.name, DUPLICATE, f"the volume of {other.name}"),
                (other.name, DUPLICATE, f"lent to {copy.name}"),
            ]
    plan.ledger += [(name, ROTATION, kind) for name, kind in plan.spoilt.items() if isinstance(kind, str)]


def _quota(share: float, count: int) -> int:
    return max(round(share * count), 1 if count >= 100 and share else 0)


def _original_report(entry: ArchiveVolume) -> ArchiveReport:
    rng = np.random.default_rng([entry.study.seed, entry.study.patient, entry.study.session, 29])
    person = invent_person(rng) if rng.random() < PERSONAL_SHARE else None
    spanish, english = write_spanish(entry.study.facts, rng), entry.study.report
    if person is None:
        return ArchiveReport(entry.subject, entry.session, spanish, english, entry.study.facts)
    return ArchiveReport(
        entry.subject,
        entry.session,
        f"{person.spanish} {spanish}",
        f"{person.english} {english}",
        entry.study.facts,
        person.items,
    )


def _lend_reports(plan: ArchivePlan, original: dict[str, ArchiveReport], rng: Rng) -> None:
    """Give the negative cohort the reports of others: of positive patients, of chest films, of strangers."""
    negative = list(dict.fromkeys(entry.session for entry in plan.entries if entry.negative))
    positive = [entry for entry in plan.entries if not entry.negative]
    lenders = [positive[i] for i in rng.permutation(len(positive))]
    plan.reports = dict(original)
    for number, session in enumerate(negative):
        fraction = (number + 0.5) / len(negative)
        volumes = [entry for entry in plan.entries if entry.session == session]
        stranger = (f"sub-S{20000 + number:05d}", f"ses-E{40000 + number:05d}")
        if fraction < BORROWED_SHARE and lenders:
            lender = lenders.pop()
            lenders = [entry for entry in lenders if entry.session != lender.session]
            plan.reports[session] = original[lender.session]
            plan.ledger += [(entry.name, "duplicate_report", f"the report of {lender.session}") for entry in volumes]
            plan.ledger += [
                (entry.name, "duplicate_report", f"lent to {session}")
                for entry in positive
                if entry.session == lender.session
            ]
        elif fraction < BORROWED_SHARE + XRAY_SHARE:
            plan.reports[session] = _film_report(*stranger, rng)
            plan.ledger += [(entry.name, "wrong_modality", "a chest film's report") for entry in volumes]
        else:
            english, facts = write_english(draw_findings(rng), rng)
            plan.reports[session] = ArchiveReport(*stranger, write_spanish(facts, rng), english, facts)
        table = plan.reports[session]
        plan.ledger += [
            (entry.name, "mismatch_ids", f"the table says {table.patient_id}, {table.report_id}") for entry in volumes
        ]


def _film_report(patient_id: str, report_id: str, rng: Rng) -> ArchiveReport:
    sentences = [
        XRAY[int(rng.integers(len(XRAY)))],
        *(XRAY_FINDINGS[i] for i in rng.permutation(len(XRAY_FINDINGS))[: int(rng.integers(4, 8))]),
    ]
    return ArchiveReport(
        patient_id,
        report_id,
        " ".join(spanish for spanish, _ in sentences),
        " ".join(english for _, english in sentences),
        (),
    )


def _spoil_translations(plan: ArchivePlan, rng: Rng) -> None:
    """Spoil reports of the positive cohort that were not lent: too short in both layouts, untranslated in one."""
    lent = {name for name, flag, _ in plan.ledger if flag == "duplicate_report"}
    sessions: dict[str, list[ArchiveVolume]] = defaultdict(list)
    for entry in plan.entries:
        if not entry.negative:
            sessions[entry.session].append(entry)
    order = [session for session, volumes in sessions.items() if not any(entry.name in lent for entry in volumes)]
    order = [order[i] for i in rng.permutation(len(order))]
    for flag, share in (
        ("report_short", SHORT_SHARE),
        ("placeholder", PLACEHOLDER_SHARE),
        ("untranslated", UNTRANSLATED_SHARE),
    ):
        left = max(_quota(share, len(plan.entries)), 2 if len(plan.entries) >= 100 else 0)
        while left > 0 and order:
            session = order.pop()
            report = plan.reports[session]
            if flag == "report_short":
                spanish, english = (("TC de tórax.", "Chest CT."), ("", ""))[left % 2]
                plan.reports[session] = dataclasses.replace(report, spanish=spanish, english=english, person=())
            elif flag == "placeholder":
                plan.reports[session] = dataclasses.replace(report, english=PLACEHOLDER)
            else:
                plan.reports[session] = dataclasses.replace(report, english=report.spanish)
            rows = [(entry.name, flag, f"{len(sessions[session])} volumes of {session}") for entry in sessions[session]]
            (plan.ledger if flag == "report_short" else plan.released_only).extend(rows)
            left -= len(sessions[session])
