"""The files of raw BIMCV-COVID19+: the MIDS tree of both cohorts, its tables, tags and X-rays."""

import json
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from bimcvr.phantom.archive.packing import PackedFile
from bimcvr.phantom.archive.plan import ArchivePlan, ArchiveVolume
from bimcvr.phantom.archive.table_cells import COLUMNS, label_cells, plain
from bimcvr.phantom.reports.findings import Rng

SUBJECTS_A_PART = 60
XRAY_SHARE, NO_TAGS_SHARE = 0.15, 0.03
_SCANNERS = (
    ("SIEMENS", "Sensation 64", "B70f"),
    ("SIEMENS", "SOMATOM Definition", "B30f"),
    ("Philips", "Brilliance 64", "YA"),
    ("GE MEDICAL SYSTEMS", "LightSpeed VCT", "LUNG"),
    ("TOSHIBA", "Aquilion", "FC51"),
)


def raw_files(plan: ArchivePlan, files: dict[str, Path]) -> list[PackedFile]:
    """List the files of the layout.

    Args:
        plan: the archive.
        files: each entry's volume.
    """
    items: list[PackedFile] = []
    for negative, root in ((False, "covid19_posi"), (True, "covid19_neg")):
        subjects: dict[str, list[ArchiveVolume]] = defaultdict(list)
        for entry in plan.entries:
            if entry.negative == negative:
                subjects[entry.subject].append(entry)
        people = []
        for number, (subject, entries) in enumerate(subjects.items()):
            rng = np.random.default_rng([entries[0].study.seed, entries[0].study.patient, 37])
            part = f"{root}_subjects_part{number // SUBJECTS_A_PART + 1:02d}.tar.gz"
            age = int(rng.integers(30, 95))
            gender = ("M", "F", "None")[int(rng.integers(3))]
            people.append({"participant": subject, "modality_dicom": "['CT']", "age": f"[{age}]", "gender": gender})
            items += [(part, f"{root}/{path}", content) for path, content in _subject_files(entries, files, age, rng)]
            sessions = f"{root}/{subject}/{subject}_sessions.tsv"
            items.append((f"{root}_sessions_tsv.tar.gz", sessions, _tsv(_session_rows(plan, entries))))
        if not subjects:
            continue
        labels = "Labels_covid_NEG_JAN21.tsv" if negative else "labels_covid_posi.tsv"
        rows = {entry.session: _label_row(plan, entry) for entries in subjects.values() for entry in entries}
        head = f"{root}_metadata.tar.gz" if negative else f"{root}_head.tar.gz"
        items.append((head, f"{root}/derivatives/labels/{labels}", _tsv(list(rows.values()))))
        items.append((f"{root}_subjects.tar.gz", f"{root}/participants.tsv", _tsv(people)))
    kinds = [{"series_id": name, "transform_type": kind} for name, kind in plan.spoilt.items() if isinstance(kind, str)]
    items.append(
        (
            "",
            "bimcv-covid19-ct-rotate-transforms.csv",
            pd.DataFrame(kinds, columns=["series_id", "transform_type"]).to_csv(index=False).encode(),
        )
    )
    return items


def _subject_files(
    entries: list[ArchiveVolume], files: dict[str, Path], age: int, rng: Rng
) -> list[tuple[str, Path | bytes]]:
    listed: list[tuple[str, Path | bytes]] = []
    scans: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        folder = f"{entry.subject}/{entry.session}/mod-rx"
        listed.append((f"{folder}/{entry.name}.nii.gz", files[entry.name]))
        scans[entry.session].append(f"mod-rx/{entry.name}.nii.gz")
        if rng.random() >= NO_TAGS_SHARE:
            listed.append((f"{folder}/{entry.name}.json", json.dumps(_tags(entry, age, rng)).encode()))
        if rng.random() < XRAY_SHARE:
            film = f"{entry.subject}_{entry.session}_run-1_bp-chest_vp-ap_dx"
            if f"mod-rx/{film}.png" not in scans[entry.session]:
                listed += [
                    (f"{folder}/{film}.png", _png(rng)),
                    (f"{folder}/{film}.json", b'{"00080060": {"vr": "CS", "Value": ["DX"]}}'),
                ]
                scans[entry.session].append(f"mod-rx/{film}.png")
    for session, names in scans.items():
        subject = entries[0].subject
        listed.append(
            (f"{subject}/{session}/{subject}_{session}_scans.tsv", _tsv([{"filename": name} for name in names]))
        )
    return listed


def _session_rows(plan: ArchivePlan, entries: list[ArchiveVolume]) -> list[dict[str, str]]:
    reports = {entry.session: plan.reports[entry.session] for entry in entries}
    return [
        {
            "session_id": session,
            "study_date": f"2020{4 + number:02d}15",
            "medical_evaluation": repr([report.spanish]) if report.spanish else "",
        }
        for number, (session, report) in enumerate(reports.items())
    ]


def _label_row(plan: ArchivePlan, entry: ArchiveVolume) -> dict[str, str]:
    """Return a row of the labels table; its key is the session, and a mismatch shows in the patient alone."""
    report = plan.reports[entry.session]
    cells = {
        "PatientID": report.patient_id,
        "ReportID": entry.session,
        "Report": plain(report.spanish),
        **label_cells(report),
    }
    return {name: cells[name] for name in COLUMNS}


def _tags(entry: ArchiveVolume, age: int, rng: Rng) -> dict[str, object]:
    """Return tags in DICOM's JSON model; some identify a person, and no reader may let those through."""
    maker, model, kernel = _SCANNERS[int(rng.integers(len(_SCANNERS)))]
    record = str(int(rng.integers(100000, 999999)))
    tags: dict[str, tuple[str, object]] = {
        "00080060": ("CS", "CT"),
        "00080070": ("LO", maker),
        "00080080": ("LO", "Hospital General de Castelló"),
        "00080090": ("PN", {"Alphabetic": "Soler^Ana"}),
        "00081090": ("LO", model),
        "00100010": ("PN", {"Alphabetic": "García^María"}),
        "00100020": ("LO", record),
        "00100030": ("DA", "19540312"),
        "00101010": ("AS", f"{age:03d}Y"),
        "00180050": ("DS", float(rng.choice([1.0, 1.25, 3.0]))),
        "00180060": ("DS", float(rng.choice([100, 120, 140]))),
        "00181151": ("IS", int(rng.integers(80, 400))),
        "00181210": ("SH", kernel),
        "00281052": ("DS", -1024.0),
        "00281053": ("DS", 1.0),
    }
    return {tag: {"vr": kind, "Value": [value]} for tag, (kind, value) in tags.items()}


def _tsv(rows: list[dict[str, str]]) -> bytes:
    return pd.DataFrame(rows).to_csv(index=False, sep="\t", lineterminator="\n").encode()


def _png(rng: Rng) -> bytes:
    """Return a small grey picture."""
    grey = rng.integers(0, 255, (32, 32), dtype=np.uint8)
    lines = b"".join(b"\0" + row.tobytes() for row in grey)
    parts = ((b"IHDR", struct.pack(">2I5B", 32, 32, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
