"""Whose a volume is by its file's name, and whose by the table."""

import re
from pathlib import PurePosixPath

from bimcvr.data.manifest import Manifest

_BIDS = re.compile(r"(?:^|[_/])(sub|ses)-([A-Za-z0-9]+)")


def file_ids(manifest: Manifest, row: int) -> dict[str, str]:
    """Return the ids in a volume's file name, `sub` and `ses`, as far as it names them.

    Names follow BIDS, `sub-S00001_ses-E00001_…`, in the file's name or else in its folders'. The columns `file_patient_id` and
    `file_report_id` go before the `volume` column: they tell the archive's own names.
    """
    path = PurePosixPath(manifest.column("volume")[row].replace("\\", "/"))
    ids = dict(_BIDS.findall("/".join(path.parts[:-1]))) | dict(_BIDS.findall(path.name))
    for column in ("file_patient_id", "file_report_id"):
        ids |= dict(_BIDS.findall(manifest.column(column)[row]))
    return ids


def subject(manifest: Manifest, row: int) -> str:
    """Return the patient of a volume: by the file's name, else by the table; empty if neither says."""
    return file_ids(manifest, row).get("sub", "") or bare(manifest.column("patient_id")[row], "sub")


def conflicting_ids(manifest: Manifest, row: int) -> str:
    """Say how the ids in a volume's file name contradict the row's; empty if they do not.

    Only ids of one scheme are compared (the same letters before the digits): a table may name patients in its own way.
    """
    named = file_ids(manifest, row)
    conflicts = []
    for key, column in (("sub", "patient_id"), ("ses", "report_id")):
        given = manifest.column(column)[row]
        ours = bare(given, key)
        if key in named and ours and named[key] != ours and _scheme(named[key]) == _scheme(ours):
            conflicts.append(f"the file is {key}-{named[key]}, {column} is {given}")
    return "; ".join(conflicts)


def bare(identifier: str, key: str) -> str:
    """Return an id without its `sub-` or `ses-`; `sub-S1_ses-E2` has one of each."""
    return dict(_BIDS.findall(identifier)).get(key, identifier)


def _scheme(identifier: str) -> str:
    return identifier.rstrip("0123456789").upper()
