"""The patient and session ids in file names (BIDS), compared with those in the table."""

import re
from pathlib import PurePosixPath

from bimcvr.data.manifest import Manifest

_BIDS = re.compile(r"(?:^|[_/])(sub|ses)-([A-Za-z0-9]+)")


def file_ids(manifest: Manifest) -> list[dict[str, str]]:
    """Return the ids in each volume's file name, `sub` and `ses`, where it has them.

    Names follow BIDS, `sub-S00001_ses-E00001_…`; ids in the file name take precedence over those in its folders. The
    columns `file_patient_id` and `file_report_id`, which have the archive's own names, take precedence over `volume`.

    Args:
        manifest: the dataset.
    """
    names = (manifest.column(name) for name in ("volume", "file_patient_id", "file_report_id"))
    ids = []
    for volume, patient, report in zip(*names, strict=True):
        path = PurePosixPath(volume.replace("\\", "/"))
        pieces = ("/".join(path.parts[:-1]), path.name, patient, report)
        ids.append({key: name for piece in pieces for key, name in _ids(piece).items()})
    return ids


def subjects(manifest: Manifest) -> list[str]:
    """Return the patient of each volume, from the file name, or else from the table; empty if neither has one."""
    rows = zip(file_ids(manifest), manifest.column("patient_id"), strict=True)
    return [named.get("sub", "") or _bare(patient, "sub") for named, patient in rows]


def id_conflicts(manifest: Manifest) -> list[str]:
    """Return for each row how the ids in its file name contradict the table; empty if they do not.

    Only ids of the same scheme are compared (the same letters before the digits), since a table may have its own ids.

    Args:
        manifest: the dataset.
    """
    columns = (("sub", "patient_id"), ("ses", "report_id"))
    table_ids = zip(*(manifest.column(column) for _, column in columns), strict=True)
    conflicts = []
    for named, cells in zip(file_ids(manifest), table_ids, strict=True):
        pairs = [
            (key, column, cell) for (key, column), cell in zip(columns, cells, strict=True) if key in named and cell
        ]
        conflicts.append(
            "; ".join(
                f"the file is {key}-{named[key]}, {column} is {cell}"
                for key, column, cell in pairs
                if _bare(cell, key) != named[key] and _scheme(_bare(cell, key)) == _scheme(named[key])
            )
        )
    return conflicts


def _ids(text: str) -> dict[str, str]:
    return {match[1]: match[2] for match in _BIDS.finditer(text)}


def _bare(identifier: str, key: str) -> str:
    """Return an id without its `sub-` or `ses-`; `sub-S1_ses-E2` has one of each."""
    return _ids(identifier).get(key, identifier)


def _scheme(identifier: str) -> str:
    return identifier.rstrip("0123456789").upper()
