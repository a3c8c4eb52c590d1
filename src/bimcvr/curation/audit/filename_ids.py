"""Whose a volume is by its file's name, and whose by the table."""

import re
from pathlib import PurePosixPath

from bimcvr.data.manifest import Manifest

_BIDS = re.compile(r"(?:^|[_/])(sub|ses)-([A-Za-z0-9]+)")


def file_ids(manifest: Manifest) -> list[dict[str, str]]:
    """Return the ids in each volume's file name, `sub` and `ses`, as far as it names them.

    Names follow BIDS, `sub-S00001_ses-E00001_…`, in the file's name or else in its folders'. The columns
    `file_patient_id` and `file_report_id`, which keep the archive's own names, go before the `volume` column.
    """
    names = (manifest.column(name) for name in ("volume", "file_patient_id", "file_report_id"))
    found = []
    for volume, patient, report in zip(*names, strict=True):
        path = PurePosixPath(volume.replace("\\", "/"))
        pieces = ("/".join(path.parts[:-1]), path.name, patient, report)
        found.append({key: name for piece in pieces for key, name in _ids(piece).items()})
    return found


def subjects(manifest: Manifest) -> list[str]:
    """Return the patient of each volume: by the file's name, else by the table; empty if neither says."""
    rows = zip(file_ids(manifest), manifest.column("patient_id"), strict=True)
    return [named.get("sub", "") or _bare(given, "sub") for named, given in rows]


def id_conflicts(manifest: Manifest) -> list[str]:
    """Say for each row how the ids in its file's name contradict the table's; empty if they do not.

    Only ids of one scheme are compared (the same letters before the digits): a table may name patients in its own way.
    """
    columns = (("sub", "patient_id"), ("ses", "report_id"))
    given = zip(*(manifest.column(column) for _, column in columns), strict=True)
    said = []
    for named, cells in zip(file_ids(manifest), given, strict=True):
        pairs = [
            (key, column, cell) for (key, column), cell in zip(columns, cells, strict=True) if key in named and cell
        ]
        said.append(
            "; ".join(
                f"the file is {key}-{named[key]}, {column} is {cell}"
                for key, column, cell in pairs
                if _bare(cell, key) != named[key] and _scheme(_bare(cell, key)) == _scheme(named[key])
            )
        )
    return said


def _ids(text: str) -> dict[str, str]:
    return {found[1]: found[2] for found in _BIDS.finditer(text)}


def _bare(identifier: str, key: str) -> str:
    """Return an id without its `sub-` or `ses-`; `sub-S1_ses-E2` has one of each."""
    return _ids(identifier).get(key, identifier)


def _scheme(identifier: str) -> str:
    return identifier.rstrip("0123456789").upper()
